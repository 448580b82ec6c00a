"""The servers that ``demo`` and ``bench`` start, as the processes they are in real life."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import httpx2
import msgspec
from pydantic import SecretStr

from proxy.bench.processes import Child, find_children, neutral_environment, read_command_line
from proxy.config import ENV_PREFIX, load
from proxy.errors import MemoryProxyError

HOST: Final = "127.0.0.1"
USER_HEADER: Final = "X-User-Id"
POLL_S: Final = 0.01  # how exactly the times of coming up are known


def start_upstream() -> Child:
    """The mock upstream on a free port."""
    return Child("proxy.mock.upstream")


def start_floor(upstream_url: str) -> Child:
    """The floor of this stack on a free port, in front of that upstream."""
    return Child("proxy.bench.floor", upstream_url)


class Conditions(msgspec.Struct, frozen=True):
    """Under what configuration the proxy runs: its defaults, or a file and the environment, with its admin token.

    *variables* are set in its environment beside these.
    """

    config: Path | None = None
    token: SecretStr | None = None
    variables: Mapping[str, str] = {}

    @classmethod
    def read(cls, config: Path | None) -> Self:
        """Those of a configuration file; without one neither file nor environment count.

        Raises:
            ConfigError: the proxy would refuse it.
        """
        return cls() if config is None else cls(config, load(config).admin.token)

    @property
    def admin_headers(self) -> dict[str, str]:
        """What the control plane wants to see."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token.get_secret_value()}"}

    def options(self, data_dir: Path) -> list[str]:
        """Of every command that is run."""
        return ["--data-dir", str(data_dir), *([] if self.config is None else ["--config", str(self.config)])]

    def environment(self) -> dict[str, str]:
        """Of the processes. Whatever is configured, users are named as the rehearsals name them, and need no key."""
        base = neutral_environment() if self.config is None else dict(os.environ)
        named = {"IDENTITY__MODE": "header", "IDENTITY__HEADER": USER_HEADER, "CLIENTS": "[]"}
        return {**base, **self.variables} | {f"{ENV_PREFIX}{name}": value for name, value in named.items()}


def start_talker() -> Child:
    """The upstream that answers in words of its own, on a free port."""
    return Child("proxy.bench.talker")


def start_proxy(upstream_url: str, data_dir: Path, conditions: Conditions, *, port: int = 0) -> Child:
    """``memory-proxy serve``, by default on a free port."""
    address = ("--host", HOST, "--port", str(port), "--upstream", f"{upstream_url}/v1")
    return Child("proxy", "serve", *address, *conditions.options(data_dir), environment=conditions.environment())


def import_file(path: Path, data_dir: Path, conditions: Conditions) -> None:
    """``memory-proxy import``: fills a store that no server has open.

    Raises:
        ChildError: a line was refused, or the store failed.
    """
    options = conditions.options(data_dir)
    with Child("proxy", "import", str(path), *options, environment=conditions.environment()) as child:
        child.wait()


def wait_ready(url: str, *, within_s: float = 60) -> None:
    """Blocks until a proxy says that its keeper is up.

    Raises:
        MemoryProxyError: it does not within *within_s*, or has ended.
    """
    deadline = time.monotonic() + within_s
    try:
        with httpx2.Client(trust_env=False) as client:
            while client.get(f"{url}/readyz").status_code != 200:
                if time.monotonic() > deadline:
                    raise MemoryProxyError(f"{url}/readyz does not answer 200 within {within_s:g} s")
                time.sleep(POLL_S)
    except httpx2.TransportError as exc:
        raise MemoryProxyError(f"{url}/readyz: {exc}") from exc


def find_keeper(edge: Child) -> int | None:
    """The process id of the keeper that belongs to *edge*; ``None`` while it has none, and without ``/proc``."""
    return next((pid for pid in find_children(edge.pid) if b"keeper" in read_command_line(pid)), None)
