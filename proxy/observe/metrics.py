"""Every metric, declared in one table. No label holds user content or has more than a handful of values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# Half-millisecond steps up to what a person notices.
LATENCY: Final = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1, 2.5, 10)
# Around the 150 µs that journaling may cost the event loop.
COST: Final = tuple(micros / 1e6 for micros in (10, 20, 30, 50, 75, 100, 125, 150, 175, 200, 250, 300, 500, 1000, 5000))
# What the relay itself takes: some 50 µs, and a millisecond for each megabyte.
RELAY: Final = (*COST, 0.025, 0.1)
# Until a model says its first word.
FIRST: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 13, 20, 30, 60, 120)
TOKENS: Final = (50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 4000, 8000)


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: its name without the prefix ``memory_proxy_``, type, labels, help and, for histograms, buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY


TABLE: Final = (
    Row("requests_total", "counter", "Requests answered, by route and status code.", ("route", "code")),
    Row("requests_in_flight", "gauge", "Data-plane requests being served now."),
    Row(
        "upstream_errors_total",
        "counter",
        "Upstream failures, by kind: refused, dns, tls, proxy, reset, protocol, connect_timeout, read_timeout.",
        ("kind",),
    ),
    Row("upstream_connections", "gauge", "Connections to the upstream, open or being opened."),
    Row("client_gone_total", "counter", "Clients that left before their answer was complete."),
    Row("memory_total", "counter", "Chat requests by X-Memory-Status.", ("status",)),
    Row(
        "skipped_total",
        "counter",
        "Chat requests that were no user's turn, by rule; custom for configured ones, command for commands to memory.",
        ("rule",),
    ),
    Row("memory_errors_total", "counter", "Steps of memory that failed while the chat went on.", ("step",)),
    Row("recall_seconds", "histogram", "Time spent before forwarding, for requests with recall."),
    Row(
        "relay_seconds",
        "histogram",
        "Time from a chat's body being here to its going upstream, without that of recall.",
        buckets=RELAY,
    ),
    Row(
        "upstream_first_token_seconds",
        "histogram",
        "Time from a chat's going upstream to the first byte of its answer's body, which in one that is not streamed "
        "comes with the last word; memory: with a block in the request, or without.",
        ("memory",),
        buckets=FIRST,
    ),
    Row("prompt_tokens_total", "counter", "Tokens of chats' prompts, as upstream reports them.", ("memory",)),
    Row("cached_prompt_tokens_total", "counter", "Those of them that upstream's prompt cache had.", ("memory",)),
    Row("completion_tokens_total", "counter", "Tokens of chats' answers, as upstream reports them.", ("memory",)),
    Row("block_tokens", "histogram", "Tokens of injected blocks.", buckets=TOKENS),
    Row("exchanges_total", "counter", "Finished chats by what became of them: journaled, discarded.", ("outcome",)),
    Row("redactions_total", "counter", "Secrets masked before anything was stored, by kind.", ("kind",)),
    Row(
        "messages_total",
        "counter",
        "What became of journaled messages: stored, known (stored before), duplicate (a newer one has its place), "
        "superseded, retracted (an edited or regenerated branch), wordless (greetings, thanks), echo (of memories), "
        "empty, unasked (a tool's step without its question), erased, evicted, off, command.",
        ("outcome",),
    ),
    Row(
        "facts_total",
        "counter",
        "What became of facts that the extraction model found: stored, strengthened, known, corrected (by hand), gone, "
        "erased, or why they were dropped.",
        ("outcome",),
    ),
    Row("extraction_calls_total", "counter", "Answered calls of the extraction model."),
    Row("extraction_tokens_total", "counter", "Tokens that they took."),
    Row("journal_append_seconds", "histogram", "Time until an exchange was durable."),
    Row(
        "journal_loop_seconds", "histogram", "CPU time that journaling one exchange cost the event loop.", buckets=COST
    ),
    Row("journal_pending", "gauge", "Journal entries that wait to be stored."),
    Row("journal_extracting", "gauge", "Stored journal entries that wait for the extraction model."),
    Row("journal_failed", "gauge", "Journal entries that were set aside after too many attempts, or as unreadable."),
    Row("journal_oldest_seconds", "gauge", "Age of the oldest waiting journal entry."),
    Row("journal_held", "gauge", "Exchanges held in memory because the journal cannot be written."),
    Row("journal_lost_total", "gauge", "Exchanges refused because the journal was broken for too long."),
    Row("keeper_up", "gauge", "1 while the keeper process answers."),
    Row("keeper_restarts_total", "counter", "Times the keeper process was started again."),
    Row("working_sets", "gauge", "Users whose memories are in memory now."),
    Row("working_set_bytes", "gauge", "Size of those memories in bytes."),
    Row("loop_lag_seconds", "histogram", "How late the event loop runs a timer."),
)


class Metrics:
    """The metrics of one process, in a registry of their own so that two apps in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._counters: dict[str, Counter] = {}
        self._series: dict[tuple[str, tuple[str, ...]], Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._observed: dict[tuple[str, tuple[str, ...]], Histogram] = {}
        for row in TABLE:
            self._declare(row)

    def _declare(self, row: Row) -> None:
        name = f"memory_proxy_{row.name}"
        if row.kind == "counter":
            self._counters[row.name] = Counter(name, row.help, row.labels, registry=self.registry)
        elif row.kind == "gauge":
            self._gauges[row.name] = Gauge(name, row.help, row.labels, registry=self.registry)
        else:
            self._histograms[row.name] = Histogram(
                name, row.help, row.labels, buckets=row.buckets, registry=self.registry
            )

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Adds to a counter of the table; *labels* in the table's order."""
        series = self._series.get((name, labels))
        if series is None:  # the library's own look-up of labels costs five times as much
            counter = self._counters[name]
            series = self._series[name, labels] = counter.labels(*labels) if labels else counter
        series.inc(by)

    def gauge(self, name: str) -> Gauge:
        """The gauge itself, for ``set``, ``inc`` and ``dec``."""
        return self._gauges[name]

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Makes a gauge ask *read* whenever it is scraped."""
        self._gauges[name].set_function(read)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Adds *value* to a histogram; *labels* in the table's order."""
        series = self._observed.get((name, labels))
        if series is None:
            histogram = self._histograms[name]
            series = self._observed[name, labels] = histogram.labels(*labels) if labels else histogram
        series.observe(value)

    def find(self, name: str, *labels: str) -> Callable[[float], None]:
        """What adds to that series of a counter or a histogram: for whoever does it with every request."""
        if (counter := self._counters.get(name)) is not None:
            return (counter.labels(*labels) if labels else counter).inc
        histogram = self._histograms[name]
        return (histogram.labels(*labels) if labels else histogram).observe

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
