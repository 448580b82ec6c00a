"""A family of interchangeable embedders, and the one place that opens the configured one."""

import importlib
from collections.abc import Callable

from proxy.config import Settings
from proxy.config import Upstream as UpstreamSettings
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
    # A certificate of ours is shown to the upstream alone.
    upstream = settings.upstream if chosen.base_url is None else UpstreamSettings(base_url=chosen.base_url)
    return factory(model=chosen.model, upstream=upstream, api_key=key)
