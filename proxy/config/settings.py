"""Everything that can be configured, as one frozen object."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self, cast

import platformdirs
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from proxy.config.access import Admin, Client, Identity, Limits
from proxy.config.fields import File
from proxy.config.sections import (
    Classification,
    Embedding,
    Extraction,
    Journal,
    Logs,
    MemorySettings,
    Redaction,
    Retention,
    Server,
    Store,
    Traces,
    Upstream,
)

ENV_PREFIX: Final = "MEMORY_PROXY_"
POINTS_AT_ITSELF: Final = "is the proxy's own address; it should be the API's"


def _default_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("memory-proxy", appauthor=False))


class Settings(BaseSettings):
    """Everything that can be configured. ``config.example.yaml`` says what each key means."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )

    data_dir: File = Field(default_factory=_default_data_dir)
    server: Server = Server()
    upstream: Upstream = Upstream()
    identity: Identity = Identity()
    clients: tuple[Client, ...] = ()
    limits: Limits = Limits()
    memory: MemorySettings = MemorySettings()
    extraction: Extraction = Field(default_factory=Extraction)
    classification: Classification = Classification()
    redaction: Redaction = Redaction()
    journal: Journal = Journal()
    retention: Retention = Retention()
    embedding: Embedding = Field(default_factory=Embedding)
    store: Store = Store()
    admin: Admin = Admin()
    traces: Traces = Traces()
    logs: Logs = Logs()

    @property
    def points_at_itself(self) -> bool:
        """Whether the proxy would be its own upstream. May ask the resolver."""
        return self.upstream.address.is_own(self.server.host, self.server.port)

    @model_validator(mode="after")
    def _check_embedding(self) -> Self:
        if self.embedding.provider == "openai" and not self.embedding.model:
            raise ValueError("embedding.model: nothing is set; provider openai needs one, e.g. text-embedding-3-small")
        if self.extraction.mode == "llm" and not self.extraction.model:
            raise ValueError("extraction.model: nothing is set; mode llm needs one, e.g. gpt-4o-mini")
        return self

    @model_validator(mode="after")
    def _check_clients(self) -> Self:
        for field in ("name", "key_sha256"):
            values = [getattr(client, field) for client in self.clients]
            if len(set(values)) < len(values):
                raise ValueError(f"clients: two of them have the same {field}")
        return self

    @model_validator(mode="after")
    def _check_store(self) -> Self:
        if self.store.mode == "cloud" and self.store.api_key is None and not self.store.headers:
            raise ValueError("store.api_key: nothing is set; mode cloud needs one")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags over environment over file; no dotenv and no secrets folder, so that nothing is read unasked."""
        flags, file = _split_layers(cast("InitSettingsSource", init_settings).init_kwargs)
        return InitSettingsSource(settings_cls, flags), env_settings, InitSettingsSource(settings_cls, file)


def _split_layers(layers: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if unknown := layers.keys() - {"flags", "file"}:
        raise TypeError(f"Settings(): {', '.join(sorted(unknown))} would be ignored; use proxy.config.load")
    return dict(layers.get("flags", {})), dict(layers.get("file", {}))
