"""The servers that ``demo`` and ``bench`` start, as the processes they are in real life."""

import time
from pathlib import Path
from typing import Final

import httpx2

from proxy.bench.processes import Child, find_children, read_command_line
from proxy.errors import MemoryProxyError

POLL_S: Final = 0.01  # how exactly the times of coming up are known


def start_upstream() -> Child:
    """The mock upstream on a free port."""
    return Child("proxy.bench.upstream")


def start_proxy(upstream_url: str, data_dir: Path, config: Path | None = None) -> Child:
    """``memory-proxy serve`` on a free port, with the default configuration unless one is given."""
    address = ("--host", "127.0.0.1", "--port", "0", "--upstream", f"{upstream_url}/v1")
    return Child("proxy", "serve", *address, *_options(data_dir, config))


def import_file(path: Path, data_dir: Path, config: Path | None = None) -> None:
    """``memory-proxy import``: fills a store that no server has open.

    Raises:
        ChildError: a line was refused, or the store failed.
    """
    with Child("proxy", "import", str(path), *_options(data_dir, config)) as child:
        child.wait()


def wait_ready(url: str, *, within_s: float = 60) -> None:
    """Blocks until a proxy says that its keeper is up.

    Raises:
        MemoryProxyError: it does not within *within_s*.
    """
    deadline = time.monotonic() + within_s
    with httpx2.Client(trust_env=False) as client:
        while client.get(f"{url}/readyz").status_code != 200:
            if time.monotonic() > deadline:
                raise MemoryProxyError(f"{url}/readyz does not answer 200 within {within_s:g} s")
            time.sleep(POLL_S)


def find_keeper(edge: Child) -> int | None:
    """The process id of the keeper that belongs to *edge*; ``None`` while it has none, and without ``/proc``."""
    return next((pid for pid in find_children(edge.pid) if b"keeper" in read_command_line(pid)), None)


def _options(data_dir: Path, config: Path | None) -> list[str]:
    return ["--data-dir", str(data_dir), *([] if config is None else ["--config", str(config)])]
