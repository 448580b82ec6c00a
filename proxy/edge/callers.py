"""Which application asks: the proxy's own keys, and what goes upstream in their place."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.config import Settings
from proxy.config.access import Client
from proxy.edge import headers
from proxy.errors import UnauthorizedError
from proxy.identity import find_own_headers
from proxy.upstream import RawHeaders

AUTHORIZATION: Final = b"authorization"
# What clients for Azure send their key in.
API_KEY: Final = b"api-key"
BEARER: Final = b"bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """An application as one request comes from it. *credentials*: the headers that open the upstream for it.

    *client*: its configuration, or None where anybody may ask.
    """

    tenant: str
    credentials: tuple[tuple[bytes, bytes], ...]
    client: Client | None = None


class Callers:
    """Knows all of them. *replaced*: the client's headers that do not go upstream, because ours do."""

    replaced: frozenset[bytes]

    def __init__(self, settings: Settings) -> None:
        own = settings.upstream.authorization
        self._anybody = Caller("", () if own is None else ((AUTHORIZATION, own),))
        places = {AUTHORIZATION, API_KEY} - find_own_headers(settings.identity)
        self._bearer, self._azure = AUTHORIZATION in places, API_KEY in places
        # Found by hash, and not compared in constant time: nobody can try a key digit by digit, because what is looked
        # up is a hash, which whoever sends the key cannot steer towards one that is known.
        self._callers: Mapping[str, tuple[Caller, Caller]] = {
            client.key_sha256: _make_callers(client, settings) for client in settings.clients
        }
        if self._callers:
            self.replaced = frozenset({AUTHORIZATION, API_KEY})
        else:
            self.replaced = frozenset() if own is None else frozenset({AUTHORIZATION})

    def recognise(self, sent: RawHeaders) -> Caller:
        """Who has sent these headers (names in lower case).

        Raises:
            UnauthorizedError: 401 without a key of ours, 400 for two of them.
        """
        if not self._callers:
            return self._anybody
        bearer = _read_bearer(_read_single(sent, AUTHORIZATION)) if self._bearer else None
        azure = _read_single(sent, API_KEY) if self._azure else None
        if bearer is not None and azure is not None and bearer != azure:
            raise _refuse("two_keys", "Two different API keys were provided.", status=400)
        key = azure if bearer is None else bearer
        if not key:
            raise _refuse("no_key", "You didn't provide an API key of this proxy.")
        known = self._callers.get(hashlib.sha256(key).hexdigest())
        if known is None:
            raise _refuse("unknown_key", "Incorrect API key provided.")
        return known[0] if bearer is not None else known[1]


def _make_callers(client: Client, settings: Settings) -> tuple[Caller, Caller]:
    """One that sends its key as a bearer does, and one that sends it as clients for Azure do."""
    secret = client.upstream_api_key or settings.upstream.api_key
    if secret is None:
        fixed = settings.upstream.authorization  # the URL's own user and password
        caller = Caller(client.effective_tenant, () if fixed is None else ((AUTHORIZATION, fixed),), client)
        return caller, caller
    key = secret.get_secret_value().encode()
    return (
        Caller(client.effective_tenant, ((AUTHORIZATION, b"Bearer " + key),), client),
        Caller(client.effective_tenant, ((API_KEY, key),), client),
    )


def _read_single(sent: RawHeaders, name: bytes) -> bytes | None:
    values = headers.every(sent, name)
    if len(values) > 1:
        raise _refuse("two_keys", "The API key was sent more than once.", status=400)
    return values[0].strip(b" \t") if values else None


def _read_bearer(value: bytes | None) -> bytes | None:
    """The key; b"" where something else is sent."""
    if value is None:
        return None
    return value[len(BEARER) :].strip(b" \t") if value[: len(BEARER)].lower() == BEARER else b""


def _refuse(reason: str, message: str, *, status: int = 401) -> UnauthorizedError:
    return UnauthorizedError(reason, "bad_client_key", message, status=status)
