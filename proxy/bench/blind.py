"""``python -m proxy.bench.blind``: the proxy without its eyes, as it comes, or with all of them open.

Run by the benchmark only: ``blind`` counts and measures nothing, ``watched`` logs every request and makes spans, which
go nowhere: what sending them costs is its exporter's.
"""

import asyncio
import sys
from pathlib import Path
from typing import Literal

import msgspec
from opentelemetry import trace

from proxy import config
from proxy.app import App
from proxy.config import Settings
from proxy.edge.capture import Capture
from proxy.edge.measures import Measures, Watch
from proxy.experiment.arms import Place
from proxy.listening import bind
from proxy.models import Scope
from proxy.observe import logs
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.recall.service import Recollection
from proxy.serving import loop_factory, make_server

Eyes = Literal["blind", "usual", "watched"]


class _Uncounted(Metrics):
    def count(self, name: str, *labels: str, by: float = 1) -> None:
        pass

    def observe(self, name: str, value: float, *labels: str) -> None:
        pass


class _Unwatched(Watch):
    """Passes everything on to whoever journals, if anybody does."""

    def __init__(self, capture: Capture | None) -> None:
        self._capture = capture
        self.hold = _take if capture is None else capture.hold

    def send(self) -> None:
        pass

    def begin(self, status: int, content_type: bytes, content_encoding: bytes) -> None:
        if self._capture is not None:
            self._capture.begin(status, content_type, content_encoding)

    def feed(self, piece: bytes) -> bool:
        return self._capture is not None and self._capture.feed(piece)

    async def close(self) -> None:
        if self._capture is not None:
            await self._capture.close()

    def end(self) -> None:
        pass


class _Unmeasured(Measures):
    def place(self, scope: Scope) -> Place | None:
        return None

    def watch(self, capture: Capture | None, recollection: Recollection, place: Place | None, *, ready: float) -> Watch:
        return _Unwatched(capture)


class BlindApp(App):
    """Counts nothing."""

    def make_metrics(self) -> Metrics:
        """As it says."""
        return _Uncounted()

    def make_measures(self, fail_open: FailOpen) -> Measures:
        """As it says."""
        return _Unmeasured(self.metrics, fail_open, self.settings)


def _take(_: bytes) -> bool:
    return True


def make_app(eyes: Eyes, settings: Settings) -> App:
    """The app, with its eyes closed or open."""
    if eyes == "blind":
        return BlindApp(settings)
    if eyes == "usual":
        return App(settings)
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())
    watched = settings.logs.model_copy(update={"requests": True})
    return App(settings.model_copy(update={"logs": watched}))


def main(eyes: Eyes, upstream: str, data_dir: str) -> None:
    """Serves on a free port until a signal, and says on stderr where, as ``serve`` does."""
    flags = {"data_dir": Path(data_dir), "server": {"port": 0}, "upstream": {"base_url": f"{upstream}/v1"}}
    settings = config.load(flags=flags)
    logs.configure(settings.logs)

    async def serve() -> None:
        await make_server(make_app(eyes, settings)).serve([bind("127.0.0.1", 0)])

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main(msgspec.convert(sys.argv[1], Eyes), *sys.argv[2:4])
