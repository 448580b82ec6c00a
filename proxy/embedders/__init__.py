"""A family of interchangeable embedders, and the one place that opens them: the configured one, or a former one."""

import importlib
from typing import Any, Final, Protocol

from pydantic import SecretStr

from proxy.address import Address
from proxy.config import Settings
from proxy.config import Upstream as UpstreamSettings
from proxy.embedders.base import EMBEDDERS, Embedder
from proxy.errors import EmbedderError
from proxy.models import EmbeddingModel

# What embedders of provider openai are called, before their model; the others have names of their own.
_OPENAI: Final = "openai:"
_NAMED: Final = ("none", "local")


class _Kind(Protocol):
    """An embedder's class."""

    name: str

    def __call__(self, **options: Any) -> Embedder: ...


def open_embedder(settings: Settings) -> Embedder:
    """The configured embedder. Imported only now, so that nobody pays for what is not configured.

    Raises:
        EmbedderError: its model cannot be loaded.
    """
    chosen = settings.embedding
    if chosen.provider != "openai":
        return _find(chosen.provider)()
    # A certificate of ours is shown to the upstream alone.
    upstream = settings.upstream if chosen.base_url is None else UpstreamSettings(base_url=chosen.base_url)
    return _find("openai")(model=chosen.model, upstream=upstream, api_key=_read(chosen.api_key))


def open_model(settings: Settings, model: EmbeddingModel) -> Embedder:
    """The embedder of a *model* that was configured once, or is.

    The configured key goes along where it belongs, which is to the configured address and nowhere else.

    Raises:
        EmbedderError: there is none any more.
    """
    if name_configured(settings) == model.name:
        return open_embedder(settings)
    if model.provider == "openai" and model.base_url is None:
        raise EmbedderError(f"{model.name}: where it answered is not known: configure it again, or move to another one")
    if model.model is not None and model.base_url is not None:
        upstream, key = UpstreamSettings(base_url=model.base_url), ""
        if _place(upstream.address) == _place(_find_address(settings)):
            key = _read(settings.embedding.api_key)
            if settings.embedding.base_url is None:
                upstream = settings.upstream.model_copy(update={"base_url": model.base_url})
        return _find("openai")(model=model.model, upstream=upstream, api_key=key)
    for provider in _NAMED:
        if _find(provider).name == model.name:
            return _find(provider)()
    raise EmbedderError(f"{model.name}: this version of memory-proxy has no such model")


def name_configured(settings: Settings) -> str:
    """What the configured embedder is called."""
    chosen = settings.embedding
    return f"{_OPENAI}{chosen.model}" if chosen.provider == "openai" else _find(chosen.provider).name


def describe(settings: Settings, name: str, dim: int) -> EmbeddingModel:
    """The model whose embedder is called *name*, to be opened again when another one is configured.

    Where it answers is where the configured one does, if it is one of its kind; else nobody knows.
    """
    if name.startswith(_OPENAI):
        address = str(_find_address(settings)) if settings.embedding.provider == "openai" else None
        return EmbeddingModel("openai", name, dim, name.removeprefix(_OPENAI), address)
    return EmbeddingModel("local" if dim else "none", name, dim)


def _find_address(settings: Settings) -> Address:
    """Where the configured embedder answers, or would if it were one of provider openai."""
    base_url = settings.embedding.base_url
    return settings.upstream.address if base_url is None else Address.parse(base_url)


def _place(address: Address) -> tuple[str, str | None]:
    return address.origin, address.socket_path


def _find(provider: str) -> _Kind:
    module, _, name = EMBEDDERS[provider].partition(":")
    kind: _Kind = getattr(importlib.import_module(module), name)
    return kind


def _read(key: SecretStr | None) -> str:
    return "" if key is None else key.get_secret_value()
