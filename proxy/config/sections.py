"""The sections of the configuration. ``config.example.yaml`` says what each key means."""

import base64
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from proxy.address import Address
from proxy.config.fields import DEFAULT_TEMPLATE, File, JournalUrl, Key, Name, Pattern, Template, UpstreamUrl, Url
from proxy.models import Mode


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors, because a typing mistake would otherwise be silent."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Server(Section):
    host: str = "127.0.0.1"
    port: int = Field(8787, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)
    max_body_mb: float = Field(64, gt=0, le=4096)
    max_header_kb: float = Field(64, ge=1, le=1024)
    max_connections: int = Field(4096, ge=1)
    client_timeout_s: float = Field(60, gt=0)
    keep_alive_s: int = Field(75, ge=1)
    heartbeat_s: float | None = Field(None, gt=0)
    shutdown_grace_s: float = Field(30, ge=0)


class Upstream(Section):
    base_url: UpstreamUrl = "https://api.openai.com/v1"
    api_key: Key | None = None
    ca_file: File | None = None
    client_cert_file: File | None = None
    client_key_file: File | None = None
    connect_timeout_s: float = Field(5, gt=0)
    read_timeout_s: float = Field(600, gt=0)
    max_connections: int = Field(1000, ge=1)

    @property
    def address(self) -> Address:
        return Address.parse(self.base_url)

    @property
    def authorization(self) -> bytes | None:
        """What replaces the client's header of that name, if anything is configured."""
        if self.api_key is not None:
            return b"Bearer " + self.api_key.get_secret_value().encode()
        userinfo = self.address.userinfo
        return None if userinfo is None else b"Basic " + base64.b64encode(userinfo.encode())

    @field_validator("client_key_file")
    @classmethod
    def _check_key_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("client_cert_file") is None:
            raise ValueError("is of no use without upstream.client_cert_file")
        return value


class MemorySettings(Section):
    mode: Mode = "full"
    budget_tokens: int = Field(1000, ge=100, le=100_000)
    deadline_ms: float = Field(150, gt=0)
    placement: Literal["system", "tail"] = "system"
    template: Template = DEFAULT_TEMPLATE
    commands: bool = False
    holdout_percent: float = Field(0, ge=0, le=100)


def _openai_key() -> SecretStr | None:
    key = os.environ.get("OPENAI_API_KEY")
    return SecretStr(key) if key else None


class Extraction(Section):
    mode: Literal["auto", "verbatim", "llm", "off"] = "auto"
    model: str | None = None
    base_url: UpstreamUrl | None = None
    api_key: Key | None = Field(default_factory=_openai_key)
    timeout_s: float = Field(60, gt=0)
    idle_s: float = Field(30, ge=0)
    calls_per_hour: int = Field(60, ge=1)
    tokens_per_hour: int = Field(200_000, ge=1000)
    concurrency: int = Field(4, ge=1, le=64)

    @property
    def effective(self) -> Literal["verbatim", "llm", "off"]:
        """The mode, with ``auto`` decided."""
        if self.mode == "auto":
            return "llm" if self.model and self.api_key else "verbatim"
        return self.mode


class SkipRule(Section):
    """A request that *pattern* is found in is no user's turn: in its last user message, or in its instructions."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    where: Literal["user", "system"] = "user"
    pattern: Pattern


class Classification(Section):
    builtin: bool = True
    rules: tuple[SkipRule, ...] = ()


class SecretPattern(Section):
    """Something else to be masked: what *pattern* finds, or its group ``secret`` where it has one."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    pattern: Pattern


class Redaction(Section):
    secrets: bool = True
    personal: bool = False
    patterns: tuple[SecretPattern, ...] = ()


class Journal(Section):
    url: JournalUrl = SecretStr("sqlite")
    prefix: Name = "memory-proxy"
    max_attempts: int = Field(10, ge=1)
    max_mb: float = Field(1024, ge=1)

    @property
    def redis_url(self) -> str | None:
        """Where replicas share a journal; None where it is a file of this one's own."""
        url = self.url.get_secret_value()
        return None if url == "sqlite" else url


class Retention(Section):
    max_memories_per_user: int = Field(20_000, ge=1, le=1_000_000)
    max_age_days: float | None = Field(None, gt=0)


class Embedding(Section):
    provider: Literal["local", "openai", "none"] = "local"
    model: str | None = None
    base_url: UpstreamUrl | None = None
    api_key: Key | None = Field(default_factory=_openai_key)


class Store(Section):
    mode: Literal["embedded", "http", "cloud"] = "embedded"
    host: str = "localhost"
    port: int = Field(8000, ge=1, le=65535)
    ssl: bool = False
    headers: dict[str, Key] = {}
    api_key: Key | None = None
    tenant: str | None = None
    database: str | None = None
    refresh_s: float = Field(5, gt=0)


class Traces(Section):
    content: bool = False
    keep: int = Field(1000, ge=0, le=100_000)
    otlp_endpoint: Url | None = None


class Logs(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    requests: bool = False
