"""Every metric, declared in one table. No label holds user content or has more than a handful of values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.observe.exposition import Family, render, take_snapshot
from proxy.observe.tallies import Spread, Spreads, Tallies, Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "memory_proxy_"

# Half-millisecond steps up to what a person notices.
LATENCY: Final = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1, 2.5, 10)
# Around the 150 µs that journaling may cost the event loop.
COST: Final = tuple(micros / 1e6 for micros in (10, 20, 30, 50, 75, 100, 125, 150, 175, 200, 250, 300, 500, 1000, 5000))
# Databases and models: from a read of one row to an answer that nobody waits for any more.
SLOW: Final = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# From 20 µs, for what is looked up in this process, to a request of its own.
QUICK: Final = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.004, 0.016, 0.064, 0.128, 0.25, 0.5, 1, 2.5, 10)
# What the relay itself takes: some 50 µs, and a millisecond for each megabyte.
RELAY: Final = (*COST, 0.025, 0.1)
# Until a model says its first word.
FIRST: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 13, 20, 30, 60, 120)
TOKENS: Final = (50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 4000, 8000)

# The process that a metric is one of. Each declares its own alone: the zeros of the other one would be lies.
Side = Literal["edge", "keeper"]


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: its name without the prefix ``memory_proxy_``, type, labels, help and, for histograms, buckets.

    *sides*: the processes that have it. In one that both have, no series of theirs may be the same. *hot*: counted with
    every request, by the event loop alone.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY
    sides: tuple[Side, ...] = ("edge",)
    hot: bool = False


KEEPER: Final[tuple[Side, ...]] = ("keeper",)
BOTH: Final[tuple[Side, ...]] = ("edge", "keeper")

TABLE: Final = (
    Row("requests_total", "counter", "Requests answered, by route and status code.", ("route", "code"), hot=True),
    Row("requests_in_flight", "gauge", "Data-plane requests being served now."),
    Row(
        "upstream_errors_total",
        "counter",
        "Upstream failures, by kind: refused, dns, tls, proxy, reset, protocol, connect_timeout, read_timeout, "
        "busy (no connection was free for it).",
        ("kind",),
    ),
    Row("upstream_connections", "gauge", "Connections to the upstream, open or being opened."),
    Row("client_connections", "gauge", "Connections of clients that are open now."),
    Row(
        "clients_refused_total",
        "counter",
        "Connections closed on clients, by reason: bad_request (not HTTP, or to be read in two ways), head_too_large, "
        "slow_head, slow_body, slow_reader, too_many.",
        ("reason",),
    ),
    Row(
        "limited_total",
        "counter",
        "Requests answered 429, by limit: in_flight, uploads, client_rate, client_in_flight, user_rate, "
        "user_in_flight, upstream_busy.",
        ("limit",),
    ),
    Row(
        "unauthorized_total",
        "counter",
        "Requests whose sender was not believed, by reason: no_key, unknown_key, two_keys, bad_signature, "
        "old_signature, bad_token, expired_token, unproven.",
        ("reason",),
    ),
    Row("client_gone_total", "counter", "Clients that left before their answer was complete."),
    Row("memory_total", "counter", "Chat requests by X-Memory-Status.", ("status",), hot=True),
    Row(
        "skipped_total",
        "counter",
        "Chat requests that were no user's turn, by rule; custom for configured ones, command for commands to memory.",
        ("rule",),
    ),
    Row("memory_errors_total", "counter", "Steps of memory that failed while the chat went on.", ("step",), sides=BOTH),
    Row("recall_seconds", "histogram", "Time spent before forwarding, for requests with recall.", hot=True),
    Row(
        "relay_seconds",
        "histogram",
        "Time from a chat's body being here to its going upstream, without that of recall.",
        buckets=RELAY,
        hot=True,
    ),
    Row(
        "upstream_first_token_seconds",
        "histogram",
        "Time from a chat's going upstream to the first byte of its answer's body, which in one that is not streamed "
        "comes with the last word; memory: with a block in the request, or without.",
        ("memory",),
        buckets=FIRST,
        hot=True,
    ),
    Row("prompt_tokens_total", "counter", "Tokens of chats' prompts, as upstream reports them.", ("memory",), hot=True),
    Row(
        "cached_prompt_tokens_total",
        "counter",
        "Those of them that upstream's prompt cache had.",
        ("memory",),
        hot=True,
    ),
    Row(
        "completion_tokens_total",
        "counter",
        "Tokens of chats' answers, as upstream reports them.",
        ("memory",),
        hot=True,
    ),
    Row("block_tokens", "histogram", "Tokens of injected blocks.", buckets=TOKENS, hot=True),
    Row(
        "exchanges_total",
        "counter",
        "Finished chats by what became of them: journaled, discarded.",
        ("outcome",),
        hot=True,
    ),
    Row("redactions_total", "counter", "Secrets masked before anything was stored, by kind.", ("kind",)),
    Row(
        "messages_total",
        "counter",
        "What became of journaled messages: stored, known (stored before), duplicate (a newer one has its place), "
        "superseded, retracted (an edited or regenerated branch), wordless (greetings, thanks), echo (of memories), "
        "empty, unasked (a tool's step without its question), erased, evicted, off, command.",
        ("outcome",),
        sides=KEEPER,
    ),
    Row(
        "facts_total",
        "counter",
        "What became of facts that the extraction model found: stored, strengthened, known, corrected (by hand), gone, "
        "erased, or why they were dropped.",
        ("outcome",),
        sides=KEEPER,
    ),
    Row("extraction_calls_total", "counter", "Answered calls of the extraction model.", sides=KEEPER),
    Row("extraction_tokens_total", "counter", "Tokens that they took.", sides=KEEPER),
    Row(
        "extraction_seconds",
        "histogram",
        "Time that the extraction model took for an answer, by outcome: answered, failed.",
        ("outcome",),
        buckets=SLOW,
        sides=KEEPER,
    ),
    Row(
        "store_seconds",
        "histogram",
        "Time that the store took, by operation: put, fetch, list, delete, touch, users.",
        ("operation",),
        buckets=SLOW,
        sides=KEEPER,
    ),
    Row("store_errors_total", "counter", "Calls of the store that failed, by operation.", ("operation",), sides=KEEPER),
    Row("embed_seconds", "histogram", "Time until a batch of texts to store had its vectors.", sides=KEEPER),
    Row(
        "embedding_differs",
        "gauge",
        "1 while another embedding model is configured than the one by whose vectors memories are found: reembed.",
        sides=KEEPER,
    ),
    Row(
        "reembedded_total",
        "counter",
        "Memories that were given a vector of the configured embedding model.",
        sides=KEEPER,
    ),
    Row("embed_question_seconds", "histogram", "Time until a question had its vector.", buckets=QUICK),
    Row("journal_append_seconds", "histogram", "Time until an exchange was durable.", hot=True),
    Row(
        "journal_loop_seconds",
        "histogram",
        "CPU time that journaling one exchange cost the event loop.",
        buckets=COST,
        hot=True,
    ),
    Row("journal_pending", "gauge", "Journal entries that wait to be stored.", sides=KEEPER),
    Row("journal_extracting", "gauge", "Stored journal entries that wait for the extraction model.", sides=KEEPER),
    Row(
        "journal_failed",
        "gauge",
        "Journal entries that were set aside after too many attempts, or as unreadable.",
        sides=KEEPER,
    ),
    Row("journal_oldest_seconds", "gauge", "Age of the oldest waiting journal entry.", sides=KEEPER),
    Row("journal_held", "gauge", "Exchanges held in memory because the journal cannot be written."),
    Row("journal_lost_total", "counter", "Exchanges refused because the journal was broken for too long."),
    Row(
        "memories",
        "gauge",
        "Memories stored, superseded ones included; NaN where a shared ledger has them, which nobody counts.",
        sides=KEEPER,
    ),
    Row("keeper_up", "gauge", "1 while the keeper process answers."),
    Row("keeper_restarts_total", "counter", "Times the keeper process was started again."),
    Row("working_sets", "gauge", "Users whose memories are in memory now."),
    Row("working_set_bytes", "gauge", "Size of those memories in bytes."),
    Row("loop_lag_seconds", "histogram", "How late the event loop runs a timer."),
    Row("keeper_loop_lag_seconds", "histogram", "How late the keeper's event loop runs a timer.", sides=KEEPER),
)


class Metrics:
    """The metrics of one process, in a registry of their own so that two apps in one process do not collide.

    Safe to be counted from several threads, but for what is hot.
    """

    def __init__(self, side: Side = "edge") -> None:
        self.registry = CollectorRegistry()
        # The keeper's memory and CPU time are a series of their own, beside those of the process that is scraped.
        ProcessCollector(namespace="" if side == "edge" else f"{PREFIX}{side}", registry=self.registry)
        self._counters: dict[str, Counter | Tallies] = {}
        self._series: dict[tuple[str, tuple[str, ...]], Counter | Tally] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram | Spreads] = {}
        self._observed: dict[tuple[str, tuple[str, ...]], Histogram | Spread] = {}
        for row in TABLE:
            if side in row.sides:
                self._declare(row)

    def _declare(self, row: Row) -> None:
        name = f"{PREFIX}{row.name}"
        if row.hot:
            self._declare_hot(name, row)
        elif row.kind == "counter":
            self._counters[row.name] = Counter(name, row.help, row.labels, registry=self.registry)
        elif row.kind == "gauge":
            self._gauges[row.name] = Gauge(name, row.help, row.labels, registry=self.registry)
        else:
            self._histograms[row.name] = Histogram(
                name, row.help, row.labels, buckets=row.buckets, registry=self.registry
            )

    def _declare_hot(self, name: str, row: Row) -> None:
        if row.kind == "counter":
            self._counters[row.name] = tallies = Tallies(name, row.help, row.labels)
            self.registry.register(tallies)
        else:
            self._histograms[row.name] = spreads = Spreads(name, row.help, row.labels, row.buckets)
            self.registry.register(spreads)

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Adds to a counter of the table; *labels* in the table's order."""
        series = self._series.get((name, labels))
        if series is None:  # the library's own look-up of labels costs five times as much
            series = self._series[name, labels] = _find_counter(self._counters[name], labels)
        series.inc(by)

    def gauge(self, name: str) -> Gauge:
        """The gauge itself, for ``set``, ``inc`` and ``dec``."""
        return self._gauges[name]

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Makes a gauge, or a counter without labels, ask *read* whenever it is scraped."""
        if (counter := self._counters.get(name)) is not None:
            self.registry.unregister(counter)
            row = next(row for row in TABLE if row.name == name)
            self.registry.register(_WatchedCounter(row, read))
        else:
            self._gauges[name].set_function(read)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Adds *value* to a histogram; *labels* in the table's order."""
        series = self._observed.get((name, labels))
        if series is None:
            series = self._observed[name, labels] = _find_histogram(self._histograms[name], labels)
        series.observe(value)

    def snapshot(self) -> list[Family]:
        """All metrics as they are now."""
        return take_snapshot(self.registry)

    def find(self, name: str, *labels: str) -> Callable[[float], None]:
        """What adds to that series of a counter or a histogram: for whoever does it with every request."""
        if (counter := self._counters.get(name)) is not None:
            return _find_counter(counter, labels).inc
        return _find_histogram(self._histograms[name], labels).observe

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return render(self.snapshot())


def _find_counter(counter: Counter | Tallies, labels: tuple[str, ...]) -> Counter | Tally:
    return counter.labels(*labels) if labels or isinstance(counter, Tallies) else counter


def _find_histogram(histogram: Histogram | Spreads, labels: tuple[str, ...]) -> Histogram | Spread:
    return histogram.labels(*labels) if labels or isinstance(histogram, Spreads) else histogram


class _WatchedCounter(Collector):
    """A counter that somebody else counts."""

    def __init__(self, row: Row, read: Callable[[], float]) -> None:
        self._row = row
        self._read = read

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(f"{PREFIX}{self._row.name}", self._row.help, value=self._read())
