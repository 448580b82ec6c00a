"""The way to a Chroma server, by Chroma's own client."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import httpx
import msgspec
from chromadb.api import ServerAPI
from chromadb.api.models.Collection import Collection
from chromadb.auth.utils import maybe_set_tenant_and_database
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings, System
from chromadb.errors import error_types

from proxy.config.sections import Store
from proxy.errors import StoreError

CLOUD_HOST: Final = "api.trychroma.com"
CLOUD_PORT: Final = 443
CLOUD_KEY: Final = "x-chroma-token"
# Chroma's client would wait for ever. A write of a thousand rows takes a server less than a second; one that is silent
# for longer hangs, or is so loaded that asking once more would make it worse.
TIMEOUT: Final = httpx.Timeout(10.0, connect=3.0)
# Collections that are listed at once.
_PAGE: Final = 100


class _Place(NamedTuple):
    tenant: str
    database: str


class Connection:
    """Collections of one database of a Chroma server. Safe to call from several threads.

    Methods raise what Chroma's client does, :class:`httpx.HTTPError` for a server that is away, and StoreError for an
    answer that is none of Chroma's.
    """

    def __init__(
        self, host: str, port: int, *, ssl: bool, headers: Mapping[str, str], place: tuple[str | None, str | None]
    ) -> None:
        self._name = f"{host.rpartition('@')[2]}:{port}"
        self._wanted = place
        self._place: _Place | None = None
        # Not chromadb.HttpClient, which asks the server three times while it is made, without a timeout.
        self._system = System(
            Settings(
                anonymized_telemetry=False,
                chroma_api_impl="chromadb.api.fastapi.FastAPI",
                chroma_server_host=host,
                chroma_server_http_port=port,
                chroma_server_ssl_enabled=ssl,
                chroma_server_headers=dict(headers),
            )
        )
        self._server = self._system.instance(ServerAPI)
        self._server._session.timeout = TIMEOUT
        self._server._session.event_hooks = {"response": [_check]}

    @classmethod
    def to_server(cls, store: Store) -> Self:
        """To the server that is configured."""
        place = store.tenant or DEFAULT_TENANT, store.database or DEFAULT_DATABASE
        return cls(store.host, store.port, ssl=store.ssl, headers=_read_headers(store), place=place)

    @classmethod
    def to_cloud(cls, store: Store) -> Self:
        """To Chroma Cloud. What tenant and database are is told by the key where they are not configured."""
        headers = _read_headers(store)
        if store.api_key is not None:
            headers[CLOUD_KEY] = store.api_key.get_secret_value()
        return cls(CLOUD_HOST, CLOUD_PORT, ssl=True, headers=headers, place=(store.tenant, store.database))

    def __str__(self) -> str:
        return self._name

    def list_collections(self) -> dict[str, Any]:
        """All that there are, by name."""
        try:
            return {model.name: self._wrap(model) for model in self._list(self._find_place())}
        except (LookupError, TypeError, AttributeError) as exc:
            raise StoreError(f"chroma: {type(exc).__name__} in the answer; is it a Chroma server?") from exc

    def _list(self, place: _Place) -> list[Any]:
        models: list[Any] = []
        while len(models) % _PAGE == 0:
            page = self._server.list_collections(_PAGE, len(models), tenant=place.tenant, database=place.database)
            if not page:
                break
            models += page
        return models

    def make_collection(self, name: str, index: Any, metadata: Mapping[str, str] | None = None) -> Any:
        """The collection of this *name*, with what it was made with if it was there before."""
        place = self._find_place()
        return self._wrap(
            self._server.get_or_create_collection(
                name,
                configuration=index,
                metadata=None if metadata is None else dict(metadata),
                tenant=place.tenant,
                database=place.database,
            )
        )

    def close(self) -> None:
        """Closes what is open."""
        self._server._session.close()
        self._system.stop()

    def _find_place(self) -> _Place:
        if self._place is None:
            tenant, database = self._wanted
            if tenant is None or database is None:
                tenant, database = maybe_set_tenant_and_database(
                    self._server.get_user_identity(),
                    overwrite_singleton_tenant_database_access_from_auth=True,
                    user_provided_tenant=tenant,
                    user_provided_database=database,
                )
            if tenant is None or database is None:
                raise StoreError("the key is for several databases: set store.tenant and store.database")
            self._place = _Place(tenant, database)
        return self._place

    def _wrap(self, model: Any) -> Any:
        return Collection(client=self._server, model=model, embedding_function=None)


def _read_headers(store: Store) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in store.headers.items()}


class _Trouble(msgspec.Struct):
    error: str = ""


def _check(response: httpx.Response) -> None:
    """Raises StoreError for a failure that Chroma's client would raise as a bare Exception."""
    if response.is_success:
        return
    try:
        known = msgspec.json.decode(response.read(), type=_Trouble).error in error_types
    except msgspec.MsgspecError:
        known = False
    if not known:
        raise StoreError(f"chroma: HTTP {response.status_code}")
