"""What passes between a client and the upstream, folded into an exchange and journaled before the last byte leaves."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from proxy.dialects.folding import Fold
from proxy.edge.conversation import Conversation
from proxy.journal import JournalWriter
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics

# How long the last byte of an answer may wait for a disk that hangs.
PATIENCE_S: Final = 2.0


class Capture:
    """Watches one response on its way to the client.

    :meth:`feed` every piece before it is relayed; when it answers True, and at the clean end of the body in any case,
    await :meth:`close` before anything more is sent: the client must not see the end of an answer that is not durable.
    Never raises and never changes a byte. Most pieces are only put aside, and read when the answer is complete.
    """

    def __init__(
        self, conversation: Conversation, journal: JournalWriter, fail_open: FailOpen, metrics: Metrics
    ) -> None:
        self._conversation = conversation
        self._journal = journal
        self._fail_open = fail_open
        self._metrics = metrics
        self._fold: Fold | None = None
        self._hold: Callable[[bytes], bool] = _ignore

    def begin(self, status: int, content_type: bytes, content_encoding: bytes) -> None:
        """The response's head is there. Only a 2xx is worth folding."""
        if 200 <= status < 300:
            self._fold = Fold.for_response(content_type, content_encoding)
            self._hold = self._fold.hold

    def hold(self, piece: bytes) -> bool:
        """Notes *piece* if it certainly does not complete the answer; else nothing is done, and it must be fed."""
        return self._hold(piece)

    def feed(self, piece: bytes) -> bool:
        """Whether the answer is complete with this piece."""
        if self._hold(piece) or self._fold is None:
            return False
        complete = False
        with self._fail_open("fold") as step:
            complete = self._fold.feed(piece)
        if step.failed:
            self._forget()
        return complete

    async def close(self) -> None:
        """Journals the exchange if it is a finished one. The second call does nothing."""
        fold = self._forget()
        if fold is None:
            return
        reply = None
        with self._fail_open("fold"):
            reply = fold.finish()
        if reply is None:
            self._metrics.count("exchanges_total", "discarded")
            return
        with self._fail_open("journal"):
            began = time.perf_counter()
            # Cancelling the wait takes nothing back: it is written as soon as the disk answers.
            async with asyncio.timeout(PATIENCE_S):
                await self._journal.append(self._conversation.exchange(reply))
            self._metrics.observe("journal_append_seconds", time.perf_counter() - began)
            self._metrics.count("exchanges_total", "journaled")

    def _forget(self) -> Fold | None:
        fold, self._fold, self._hold = self._fold, None, _ignore
        return fold


def _ignore(_: bytes) -> bool:
    return True
