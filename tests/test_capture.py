"""What is journaled of a response that passes."""

from datetime import UTC, datetime

import msgspec
import pytest
from structlog.testing import capture_logs

from proxy.dialects.folding import BODY_LIMIT, Fold
from proxy.edge.capture import Capture
from proxy.edge.conversation import Conversation
from proxy.errors import JournalError
from proxy.journal.entries import checksum, decode, draft
from proxy.models import Exchange, Message, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.remember.segment import CUT_MARK, segment
from tests.harness.payloads import DONE, completion, events

QUESTION = Message("user", "Where is Lisbon?")


class Journal:
    """Keeps what is appended, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.exchanges: list[Exchange] = []
        self._failure = failure

    async def append(self, exchange: Exchange) -> None:
        if self._failure is not None:
            raise self._failure
        self.exchanges.append(exchange)


def capture(journal: Journal, metrics: Metrics) -> Capture:
    conversation = Conversation(Scope("ada"), [QUESTION], 0, "c")
    return Capture(conversation, journal, FailOpen(metrics), metrics)  # type: ignore[arg-type]  # only append is used


async def test_a_body_is_journaled_when_it_is_closed() -> None:
    """Question and answer, once, however often the end is told."""
    journal, metrics = Journal(), Metrics()
    watched = capture(journal, metrics)
    watched.begin(200, b"application/json", b"")
    assert watched.feed(completion("In Portugal.")) is False
    assert journal.exchanges == []
    await watched.close()
    await watched.close()
    assert [exchange.messages for exchange in journal.exchanges] == [[QUESTION, Message("assistant", "In Portugal.")]]


async def test_a_stream_says_when_it_is_complete() -> None:
    """With the event that ends it, and not before."""
    journal = Journal()
    watched = capture(journal, Metrics())
    watched.begin(200, b"text/event-stream", b"")
    *pieces, end = events("In ", "Portugal.")
    assert not any(watched.feed(piece) for piece in pieces)
    assert end == DONE
    assert watched.feed(end)
    await watched.close()
    assert len(journal.exchanges) == 1


@pytest.mark.parametrize("status", [199, 300, 304, 400, 429, 500])
async def test_other_statuses_are_not_looked_at(status: int) -> None:
    """Only a 2xx is an answer."""
    journal = Journal()
    watched = capture(journal, Metrics())
    watched.begin(status, b"application/json", b"")
    watched.feed(completion("In Portugal."))
    await watched.close()
    assert journal.exchanges == []


async def test_a_response_that_never_began_is_nothing() -> None:
    """An upstream that failed before its head leaves nothing to journal."""
    journal = Journal()
    await capture(journal, Metrics()).close()
    assert journal.exchanges == []


async def test_a_journal_that_fails_is_told_of() -> None:
    """It costs nobody the answer: one metric, one line with the reason."""
    metrics = Metrics()
    watched = capture(Journal(JournalError("disk full")), metrics)
    watched.begin(200, b"application/json", b"")
    watched.feed(completion("In Portugal."))
    with capture_logs() as logs:
        await watched.close()
    assert metrics.registry.get_sample_value("memory_proxy_memory_errors_total", {"step": "journal"}) == 1
    assert [(line["event"], line["reason"]) for line in logs] == [("memory_failed", "disk full")]


async def test_a_stream_may_end_without_its_last_event() -> None:
    """Some servers send no [DONE]: after a finish reason a clean end will do, without one it will not."""
    for finish_reason, stored in (("stop", 1), (None, 0)):
        journal = Journal()
        watched = capture(journal, Metrics())
        watched.begin(200, b"text/event-stream", b"")
        pieces = events("In ", "Portugal.", finish_reason=finish_reason, done=False)
        assert not any(watched.feed(piece) for piece in pieces)
        await watched.close()
        assert len(journal.exchanges) == stored


async def test_a_cut_reply_is_kept_and_marked() -> None:
    """Of an answer that is too large there is the beginning, and the memory of it shows that it is no more."""
    journal = Journal()
    watched = capture(journal, Metrics())
    watched.begin(200, b"application/json", b"")
    watched.feed(completion("In Portugal.", audio={"data": "A" * BODY_LIMIT}))
    await watched.close()
    (exchange,) = journal.exchanges
    assert (exchange.messages[-1].text, exchange.truncated) == ("In Portugal.", True)
    assert [memory.text for memory in segment(exchange)] == ["Where is Lisbon?", "In Portugal." + CUT_MARK]
    assert [memory.id for memory in segment(exchange)] == [
        memory.id for memory in segment(msgspec.structs.replace(exchange, truncated=False))
    ]


async def test_a_mark_survives_the_journal() -> None:
    """An entry says whether its reply was cut; one of an earlier version says that it was not."""
    exchange = Exchange("ada", "c", 0, [QUESTION], datetime(2026, 1, 1, tzinfo=UTC))
    cut = msgspec.structs.replace(exchange, truncated=True)
    for sent in (exchange, cut):
        payload = draft(sent).payload
        assert (b"truncated" in payload) is sent.truncated
        assert decode(payload, checksum(payload)) == sent


@pytest.mark.parametrize("part", ["feed", "finish"])
async def test_a_fold_that_raises_is_told_of(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Whether a bug shows with a piece or at the end: one metric, and nothing is journaled."""

    def fail(*_: object) -> bool:
        raise IndexError

    journal, metrics = Journal(), Metrics()
    watched = capture(journal, metrics)
    watched.begin(200, b"text/event-stream", b"")
    monkeypatch.setattr(Fold, part, fail)
    with capture_logs():
        assert [watched.feed(piece) for piece in events("In Portugal.")][-1] is (part == "finish")
        assert watched.feed(DONE) is (part == "finish")
        await watched.close()
    assert metrics.registry.get_sample_value("memory_proxy_memory_errors_total", {"step": "fold"}) == 1
    assert journal.exchanges == []


async def test_most_pieces_are_only_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of a hundred events is looked into once, with the event that ends it."""
    looked = []
    feed = Fold.feed

    def count(fold: Fold, piece: bytes) -> bool:
        looked.append(piece)
        return feed(fold, piece)

    monkeypatch.setattr(Fold, "feed", count)
    journal = Journal()
    watched = capture(journal, Metrics())
    watched.begin(200, b"text/event-stream", b"")
    assert [watched.feed(piece) for piece in events(*["word "] * 100)] == [False] * 102 + [True]
    assert looked == [DONE]
    await watched.close()
    assert journal.exchanges[0].messages[-1].text == "word " * 100
