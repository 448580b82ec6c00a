"""What an evaluation found, as charts: by topic, those that stand beside the table of the same name."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from proxy.evaluation.asking import DEFAULT_BUDGET
from proxy.evaluation.digression import Digression
from proxy.evaluation.month import MonthReport
from proxy.evaluation.report import Report
from proxy.evaluation.statistics import Interval
from proxy.evaluation.strangers import MUCH, Relevance
from proxy.evaluation.timing import Timing
from proxy.reporting.charts import Axis, Bars, Chart, Lines, Point, Spreads, Stacks, Whiskers

_EVIDENCE: Final = Axis(label="share of the evidence", is_share=True)
# Ranks that are counted together, each up to this one.
_STEPS: Final = (1, 2, 3, 4, 5, 10, 20, 50, 100)
_INTERVAL: Final = "the mean for 95 of 100 sets of such questions"


def draw_curves(report: Report) -> Lines:
    """Share against budget. The report has to have curves."""
    series = {name: [Point(budget, *share) for budget, share in curve.items()] for name, curve in report.curves.items()}
    return Lines(
        title="Evidence inside the block",
        caption=(
            "Each line is one type of question: what part of the messages that hold its answers is inside a block of "
            f"so many tokens. Bands have {_INTERVAL}; a narrow one has many questions. Up is better; tokens cost."
        ),
        x=Axis(label="tokens of the block"),
        y=_EVIDENCE,
        series=series,
        emphasis="all",
    )


def list_charts(report: Report) -> Iterator[tuple[str, Chart]]:
    """Each with its topic."""
    if report.curves:
        yield "shares", draw_curves(report)
    yield "shares", _draw_types(report)
    yield "shares", _draw_ranks(report.ranks)
    yield "relevance", _draw_relevance(report.relevance)
    if report.replays is not None:
        rows = {
            f"{placement}, {name}": {"without memory": share.without, "with memory": share.with_memory}
            for placement, replay in report.replays.items()
            for name, share in replay.caches.items()
        }
        yield "replays", _draw_caches(rows)
    if report.digressions is not None:
        yield "digressions", _draw_digressions(report.digressions)
    if report.timing is not None:
        yield "timing", _draw_sizes(report.timing)
    yield "timing", _draw_recalls(report)


def list_month_charts(report: MonthReport) -> Iterator[tuple[str, Chart]]:
    """Of a month; each with its topic."""
    runs = {"as it was": report.clean, "with noise": report.noisy}
    if all(run.intervals for run in runs.values()):
        names = (f"inside {DEFAULT_BUDGET:,} tokens", "among the ten best")
        rows = {name: {run: of.intervals[number] for run, of in runs.items()} for number, name in enumerate(names)}
        caption = f"Dots are means, lines have {_INTERVAL}. Noise should move a dot to the left by 1 % at most."
        yield "month", _draw_shares("Evidence, without and with noise", caption, rows)
    statuses = {
        f"{label} ({sum(counts.values()):,})": counts for label, counts in sorted(report.noisy.statuses.items())
    }
    if statuses:
        yield (
            "noise",
            Stacks(
                title="What memory said to each kind of request",
                caption=(
                    "Each bar has all requests of one kind, their number behind its name, in parts by "
                    "X-Memory-Status. What is no user's turn should be skipped."
                ),
                x_label="requests",
                rows=statuses,
            ),
        )


def _draw_types(report: Report) -> Whiskers:
    scores = {**report.types, "all": report.overall, **{f"{name}, apart": one for name, one in report.apart.items()}}
    budget = DEFAULT_BUDGET if DEFAULT_BUDGET in report.overall.share else next(iter(report.overall.share))
    rows = {
        f"{name} ({one.questions:,})": {
            f"inside {budget:,} tokens": one.share[budget],
            "among the ten best": one.recall_at_10,
        }
        for name, one in scores.items()
    }
    caption = f"Behind each type the number of its questions. Dots are means, lines have {_INTERVAL}. Right is better."
    return _draw_shares("Evidence by type of question", caption, rows)


def _draw_shares(title: str, caption: str, rows: Mapping[str, Mapping[str, Interval]]) -> Whiskers:
    return Whiskers(title=title, caption=caption, x=_EVIDENCE, rows=rows)


def _draw_ranks(ranks: Mapping[int, int]) -> Bars:
    total = sum(ranks.values())
    bars: dict[str, float] = {}
    notes: dict[str, str] = {}
    before = found = 0
    for step in _STEPS:
        counted = sum(ranks.get(rank, 0) for rank in range(before + 1, step + 1))
        name = f"{step}" if step == before + 1 else f"{before + 1}–{step}"
        found += counted
        bars[name], notes[name] = counted, f"{found / max(total, 1):.0%}"
        before = step
    bars["later"], notes["later"] = total - found, "100%"
    return Bars(
        title="Where the evidence stands",
        caption=(
            f"Each of the {total:,} pieces of evidence by its place in the ranking of its question: how many are "
            "first, second and so on. Below each place, what share of all is found by there. Left is better."
        ),
        x_label="place in the ranking",
        y=Axis(label="pieces of evidence"),
        bars=bars,
        notes=notes,
        note_label="what is found by there",
    )


def _draw_relevance(relevance: Relevance) -> Whiskers:
    others = {} if relevance.others is None else {f"the other set, over {MUCH} tokens": relevance.others}
    shares = {
        f"another life, over {MUCH} tokens": relevance.questions,
        **others,
        "greetings, anything": relevance.greetings,
    }
    return Whiskers(
        title="What strangers bring in",
        caption=(
            "How often a text that has nothing to do with the user, such as a question about another life, brings "
            f"memories into the request, so many or any. Left is better. Dots are means, lines have {_INTERVAL}."
        ),
        x=Axis(label="share of the texts", is_share=True),
        rows={name: {"share": share} for name, share in shares.items()},
    )


def _draw_caches(rows: Mapping[str, Mapping[str, float]]) -> Whiskers:
    return Whiskers(
        title="What the provider's cache has",
        caption=(
            "The cached part of all prompt tokens, by placement of the block and by the cache's rule: what memory "
            "takes away is the way from the dot without it to the dot with it. Cached tokens cost a fraction of others."
        ),
        x=Axis(label="cached part of the prompt tokens", is_share=True),
        rows={name: {kind: (value, value, value) for kind, value in row.items()} for name, row in rows.items()},
    )


def _draw_digressions(digressions: Mapping[str, Digression]) -> Whiskers:
    caption = (
        f"Dots are means, lines have {_INTERVAL}. Where both dots of a row are alike, a conversation that goes on "
        "costs a sudden question nothing."
    )
    rows = {name: {"then": one.sudden, "in a block of its own": one.fresh} for name, one in digressions.items()}
    return _draw_shares("A sudden question, by placement", caption, rows)


def _draw_sizes(timing: Timing) -> Lines:
    kinds = {
        "p50": [(size.memories, size.wall_ms.p50) for size in timing.sizes],
        "p99": [(size.memories, size.wall_ms.p99) for size in timing.sizes],
        "CPU, p50": [(size.memories, size.cpu_ms.p50) for size in timing.sizes],
        "CPU, p99": [(size.memories, size.cpu_ms.p99) for size in timing.sizes],
    }
    return Lines(
        title="Recall against the user's memories",
        caption=(
            "How long a recall takes, and what of it is the processor's time, for users of so many memories. Both axes "
            "are logarithmic: ten times the memories are one step to the right, ten times the time would be one up."
        ),
        x=Axis(label="memories of the user", scale="log"),
        y=Axis(label="time", unit="ms", scale="log"),
        series={name: _list_points(values) for name, values in kinds.items()},
    )


def _list_points(values: Sequence[tuple[int, float]]) -> list[Point]:
    return [Point(size, value) for size, value in values]


def _draw_recalls(report: Report) -> Spreads:
    return Spreads(
        title="Recalls, one by one",
        caption=(
            "Each line has all recalls of one kind, the fastest on the left, the slowest on the right: at p99 stands "
            "the time that 99 of 100 do not exceed. Each question is one of the data set, asked of its own user; sizes "
            "are of one user who is given so many memories."
        ),
        y=Axis(label="time", unit="ms"),
        what="recalls",
        series=report.samples,
    )
