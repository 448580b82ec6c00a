"""Everything that one measurement needs: the mock upstream, and the floor and the proxy in front of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from proxy.bench.control import Control
from proxy.bench.load import Endpoint
from proxy.bench.processes import Child


class World(Control):
    """Three ways to one upstream: :attr:`direct`, :attr:`floored` and :attr:`proxied`. Made by :func:`open_world`.

    *data_dir* is the proxy's.
    """

    def __init__(
        self, upstream: Child, floor: Child, proxy: Child, admin_headers: Mapping[str, str], data_dir: Path
    ) -> None:
        self.data_dir = data_dir
        self.floor = floor
        self.proxy = proxy
        self.direct = Endpoint(upstream.url())
        self.floored = Endpoint(floor.url())
        self.proxied = Endpoint(proxy.url())
        super().__init__(self.proxied, admin_headers)

    def close(self) -> None:
        for endpoint in (self.direct, self.floored, self.proxied):
            endpoint.close()


@contextmanager
def open_world(
    upstream: Child, floor: Child, proxy: Child, admin_headers: Mapping[str, str], data_dir: Path
) -> Iterator[World]:
    """A world of servers that listen already; whether the keeper is up yet is the caller's to ask."""
    world = World(upstream, floor, proxy, admin_headers, data_dir)
    try:
        yield world
    finally:
        world.close()
