"""What is journaled of a response that passes."""

from datetime import UTC, datetime

import msgspec
import pytest
from structlog.testing import capture_logs

from proxy import chain
from proxy.config import Redaction
from proxy.dialects.folding import BODY_LIMIT, Fold
from proxy.edge.capture import Capture, Recorder
from proxy.edge.conversation import Conversation
from proxy.errors import JournalError
from proxy.journal.entries import checksum, decode, draft
from proxy.models import Exchange, Message, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.redaction import Redactor
from proxy.remember.segment import CUT_MARK
from tests.conversations import Memory
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


def recorder(journal: Journal, metrics: Metrics) -> Recorder:
    redactor = Redactor(Redaction())
    return Recorder(
        journal,  # type: ignore[arg-type]  # only append is used
        redactor,
        FailOpen(metrics),
        metrics,
        keep_blocks=False,
    )


def capture(journal: Journal, metrics: Metrics) -> Capture:
    return Capture(Conversation(Scope("ada"), [QUESTION], 0, "c"), recorder(journal, metrics))


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
    kept, whole = Memory(), Memory()
    kept.take(exchange)
    whole.take(msgspec.structs.replace(exchange, truncated=False))
    assert kept.live == ["Where is Lisbon?", "In Portugal." + CUT_MARK]
    assert kept.texts.keys() == whole.texts.keys()


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


async def test_secrets_are_masked_before_anything_is_durable() -> None:
    """In what the user says and in what is answered; what the conversation is known by is not changed by that."""
    secret = "ghp_" + "A1b2C3d4" * 4 + "E5f6"
    journal, metrics = Journal(), Metrics()
    conversation = Conversation(Scope("ada"), [Message("user", f"My token is {secret}, keep it.")], 0)
    watched = Capture(conversation, recorder(journal, metrics))
    watched.begin(200, b"application/json", b"")
    watched.feed(completion(f"I keep {secret}."))
    await watched.close()
    (exchange,) = journal.exchanges
    assert secret not in str(exchange)
    assert exchange.messages[0].text.startswith("My token is [secret: ")
    assert exchange.links[:8] == chain.digest(Scope("ada"), conversation.dialogue[0])
    assert metrics.registry.get_sample_value("memory_proxy_redactions_total", {"kind": "github_token"}) == 2


async def test_what_cannot_be_masked_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in masking is told of; nothing unmasked reaches the disk for it."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Redactor, "redact", fail)
    journal, metrics = Journal(), Metrics()
    watched = capture(journal, metrics)
    watched.begin(200, b"application/json", b"")
    watched.feed(completion("In Portugal."))
    with capture_logs():
        await watched.close()
    assert journal.exchanges == []
    assert metrics.registry.get_sample_value("memory_proxy_memory_errors_total", {"step": "redact"}) == 1


async def test_a_tool_s_call_keeps_the_question() -> None:
    """The user has spoken, whatever becomes of the loop; a further step says nothing new."""
    for step, expected in ((False, [[QUESTION]]), (True, [])):
        journal, metrics = Journal(), Metrics()
        conversation = Conversation(Scope("ada"), [QUESTION], 0, step=step)
        watched = Capture(conversation, recorder(journal, metrics))
        watched.begin(200, b"application/json", b"")
        watched.feed(completion(None, finish_reason="tool_calls", tool_calls=[{"id": "1"}]))
        await watched.close()
        assert [exchange.messages for exchange in journal.exchanges] == expected
