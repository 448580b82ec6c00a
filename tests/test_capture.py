"""What is journaled of a response that passes."""

import pytest
from structlog.testing import capture_logs

from proxy.edge.capture import Capture
from proxy.edge.conversation import Conversation
from proxy.errors import JournalError
from proxy.models import Exchange, Message, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
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
