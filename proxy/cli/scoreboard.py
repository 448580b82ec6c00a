"""The tables of ``memory-proxy eval``: one a topic, with 95 % intervals below or behind the figures."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.table import Table
from rich.text import Text

from proxy.cli import output

if TYPE_CHECKING:
    from proxy.evaluation.digression import Digression
    from proxy.evaluation.examination import Scores
    from proxy.evaluation.replay import Replay
    from proxy.evaluation.report import Report
    from proxy.evaluation.statistics import Interval
    from proxy.evaluation.strangers import Relevance
    from proxy.evaluation.timing import Spread, Timing


class Section(NamedTuple):
    """One table. *topic* is the name of its kind, which charts have, too."""

    topic: str
    heading: str
    table: Table


# The longest type of question of the public sets, single-session-preference, on a page of a hundred columns.
_WIDEST_NAME: Final = 26


def list_sections(report: "Report") -> Iterator[Section]:
    """A table for each topic that the report has something about."""
    yield _show_shares(report)
    yield _show_blocks(report)
    if any(scores.newest for scores in report.types.values()):
        yield _show_updates(report)
    yield _show_relevance(report.relevance)
    if report.replays is not None:
        yield _show_replays(report.replays)
    if report.digressions is not None:
        yield _show_digressions(report.digressions)
    if report.timing is not None:
        yield _show_timing(report.timing)


def conclude(report: "Report") -> Iterator[str]:
    """What is said in sentences."""
    if (seen := report.isolation) is not None:
        yield (
            f"Other users' memories in a block: {seen.foreign:,} (should be 0) of {seen.memories:,} shown "
            f"to {output.count(seen.users, 'user')} of one store."
        )
    left_out = f", {report.left_out:,} without evidence left out" if report.left_out else ""
    asked = report.overall.questions + sum(scores.questions for scores in report.apart.values())
    yield (
        f"{output.count(report.users, 'user')}, {output.count(report.memories, 'memory')}, "
        f"{output.count(asked, 'question')}{left_out}. "
        f"A recall takes {report.recall_ms.p50:.2f} ms at p50 and {report.recall_ms.p99:.2f} ms at p99 "
        f"(CPU {report.cpu_ms.p50:.2f} and {report.cpu_ms.p99:.2f} ms)."
    )


def _show_shares(report: "Report") -> Section:
    table = _make_table(
        "question type", "questions", *(f"share at {budget:,}" for budget in report.overall.share), "R@10"
    )
    _fill(table, report, lambda scores: [f"{scores.questions:,}", *map(_stack, _list_shares(scores))])
    heading = "Evidence inside a block of so many tokens, and among the ten best: 1 is all of it."
    return Section("shares", heading, table)


def _list_shares(scores: "Scores") -> "list[Interval]":
    return [*scores.share.values(), scores.recall_at_10]


def _show_blocks(report: "Report") -> Section:
    budgets = report.overall.share
    words = (f"words\nat {budget:,}" for budget in budgets)
    table = _make_table("question type", *words, *(f"tokens\nof {budget:,}" for budget in budgets))
    _fill(
        table,
        report,
        lambda scores: [
            *(_stack(share) for share in scores.answer.values()),
            *(f"{tokens:,.0f}" for tokens in scores.tokens.values()),
        ],
    )
    heading = "The answers' words inside a block, of those that the evidence has; tokens that a block uses."
    return Section("blocks", heading, table)


def _show_updates(report: "Report") -> Section:
    table = _make_table("question type", "questions", "newest statement found")
    for name, scores in report.types.items():
        if scores.newest is not None:
            table.add_row(output.make_cell(name), f"{scores.questions:,}", _spread_out(scores.newest))
    heading = "What changed: the newest statement is in the default block, behind or instead of older ones."
    return Section("updates", heading, table)


def _show_relevance(relevance: "Relevance") -> Section:
    table = _make_table("what is said", "brings in", "share")
    table.add_row("question of another life", "over 100 tokens", _spread_out(relevance.questions))
    if relevance.others is not None:
        table.add_row("question of the other set", "over 100 tokens", _spread_out(relevance.others))
    table.add_row("greeting, thanks", "anything", _spread_out(relevance.greetings))
    return Section("relevance", "What has nothing to do with the user brings memories in: 0 is best.", table)


def _show_replays(replays: "dict[str, Replay]") -> Section:
    table = _make_table("placement", "cache", "with memory", "without", "kept", "tokens added", "block changed")
    for placement, replay in replays.items():
        for name, share in replay.caches.items():
            figures = (f"{share.with_memory:.3f}", f"{share.without:.3f}", _spread_out(share.kept))
            table.add_row(placement, name, *figures, f"{replay.added_tokens:,.0f}", f"{replay.changed:.1%}")
    first = next(iter(replays.values()))
    held = f"{output.count(first.conversations, 'conversation')}, {output.count(first.requests, 'request')}"
    return Section("replays", f"Cached share of prompt tokens ({held}): kept should be 1 or near.", table)


def _show_digressions(digressions: "dict[str, Digression]") -> Section:
    table = _make_table("placement", "questions", "then", "in a block of its own")
    for placement, outcome in digressions.items():
        shares = (_spread_out(outcome.sudden), _spread_out(outcome.fresh))
        table.add_row(placement, f"{outcome.questions:,}", *shares)
    heading = "Evidence that a sudden question, in the midst of another conversation, gets: both alike is best."
    return Section("digressions", heading, table)


def _show_timing(timing: "Timing") -> Section:
    table = _make_table("what", "memories", "p50 ms", "p99 ms", "CPU p50 ms", "CPU p99 ms")
    for size in timing.sizes:
        table.add_row("recall", f"{size.memories:,}", *_list_ms(size.wall_ms), *_list_ms(size.cpu_ms))
    largest = f"{timing.sizes[-1].memories:,}"
    table.add_row("taking in an exchange", largest, *_list_ms(timing.insert_ms), "", "")
    table.add_row("recall right after that", largest, *_list_ms(timing.next_ms), "", "")
    return Section("timing", "Time, by how much one user has said.", table)


def _fill(table: Table, report: "Report", format_scores: "Callable[[Scores], list[Text | str]]") -> None:
    """A row a type, one for all of them, and those that are not part of all."""
    for name, scores in report.types.items():
        table.add_row(output.make_cell(name), *format_scores(scores))
    table.add_section()
    table.add_row("all", *format_scores(report.overall), style="bold")
    for name, scores in report.apart.items():
        table.add_section()
        table.add_row(Text.assemble(output.make_cell(name), " (apart)"), *format_scores(scores))


def _make_table(first: str, *rest: str) -> Table:
    table = output.make_table()
    table.add_column(first, overflow="fold", max_width=_WIDEST_NAME)
    for name in rest:
        table.add_column(name, justify="right")
    return table


def _stack(share: "Interval | None") -> Text:
    """The interval below its mean: several fit into a row."""
    if share is None:
        return Text("–")
    return Text.assemble(f"{share.mean:.3f}", "\n", (_bound(share), "dim"))


def _spread_out(share: "Interval | None") -> Text:
    if share is None:
        return Text("–")
    return Text.assemble(f"{share.mean:.3f}", " ", (_bound(share), "dim"))


def _bound(share: "Interval") -> str:
    low, high = (f"{bound:.2f}".removeprefix("0") for bound in (share.low, share.high))
    return f"{low}–{high}"


def _list_ms(spread: "Spread") -> Sequence[str]:
    return f"{spread.p50:.2f}", f"{spread.p99:.2f}"
