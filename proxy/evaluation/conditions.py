"""Under what configuration parts of the proxy run inside a measurement: the defaults, whatever the environment says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from proxy.config import Settings, load

# What would change a figure, or call for a service, is not left to the environment.
_FLAGS: Final[Mapping[str, Any]] = {
    "identity": {"mode": "header", "header": "X-User-Id"},
    "extraction": {"mode": "verbatim"},
    "embedding": {"provider": "local"},
    "store": {"mode": "embedded"},
}
# Nothing here is late: what is measured is what memory does, not when.
_MEMORY: Final[Mapping[str, Any]] = {"mode": "full", "placement": "system", "deadline_ms": 60_000}


def make_settings(data_dir: Path, upstream_url: str | None = None) -> Settings:
    """Settings for a proxy or its parts on *data_dir*.

    Raises:
        ConfigError: the environment has something that no proxy would start with.
    """
    upstream = {"base_url": upstream_url, "api_key": None}
    return load(flags={**_FLAGS, "memory": _MEMORY, "data_dir": data_dir, "upstream": upstream})
