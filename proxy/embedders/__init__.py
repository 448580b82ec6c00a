"""A family of interchangeable embedders, and the one place that opens the configured one."""

import importlib
from collections.abc import Callable

from proxy.config import Settings
from proxy.embedders.base import EMBEDDERS, Embedder


def open_embedder(settings: Settings) -> Embedder:
    """The configured embedder. Imported only now, so that nobody pays for what is not configured.

    Raises:
        EmbedderError: its model cannot be loaded.
    """
    chosen = settings.embedding
    module, _, name = EMBEDDERS[chosen.provider].partition(":")
    factory: Callable[..., Embedder] = getattr(importlib.import_module(module), name)
    if chosen.provider != "openai":
        return factory()
    key = chosen.api_key.get_secret_value() if chosen.api_key is not None else ""
    return factory(model=chosen.model, base_url=chosen.base_url or settings.upstream.base_url, api_key=key)
