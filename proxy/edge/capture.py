"""What passes between a client and the upstream, folded into an exchange and journaled before the last byte leaves."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from proxy.dialects.answer import Reply
from proxy.dialects.folding import Fold
from proxy.edge.conversation import Conversation
from proxy.journal import Writer
from proxy.models import Details, Exchange, Usage
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.redaction import Known, Redacted, Redactor

# How long the last byte of an answer may wait for a disk that hangs.
PATIENCE_S: Final = 2.0
# Characters from which on masking is a thread's work: it takes up to 20 ns each.
_LONG: Final = 50_000
# And so many hold up everybody else's streams for 0.1 ms.
_AT_ONCE: Final = 4_000


class Recorder:
    """Makes exchanges durable, without the secrets in them. One serves all requests of an edge.

    *keep_blocks*: an exchange takes along what of memory its request was given.
    """

    def __init__(
        self, journal: Writer, redactor: Redactor, fail_open: FailOpen, metrics: Metrics, *, keep_blocks: bool
    ) -> None:
        self.fail_open = fail_open
        self._journal = journal
        self._redactor = redactor
        self._metrics = metrics
        self._keep_blocks = keep_blocks

    def discard(self) -> None:
        """Counts an answer that did not come to a proper end."""
        self._metrics.count("exchanges_total", "discarded")

    async def record(self, conversation: Conversation, reply: Reply, block: str) -> None:
        """Returns when the exchange is durable, or after a while in which it was not. Never raises for that."""
        if reply.is_step and conversation.step:
            return  # nobody has said anything
        with self.fail_open("redact") as step:
            exchange = await self._redact(conversation.exchange(reply, block=block, keep_block=self._keep_blocks))
        if step.failed:
            return
        with self.fail_open("journal"):
            began = time.perf_counter()
            # Cancelling the wait takes nothing back: it is written as soon as the disk answers.
            async with asyncio.timeout(PATIENCE_S):
                await self._journal.append(exchange)
            self._metrics.observe("journal_append_seconds", time.perf_counter() - began)
            self._metrics.count("exchanges_total", "journaled")

    async def _redact(self, exchange: Exchange) -> Exchange:
        redacted, spent = [], 0
        known: Known = {}
        for message in exchange.messages:
            redacted.append(await self._mask(message.text, known))
            spent += len(message.text)
            if spent > _AT_ONCE:
                spent = 0
                await asyncio.sleep(0)  # others' turn
        kinds = [kind for result in redacted for kind in result.found]
        if not kinds:
            return exchange
        for kind in kinds:
            self._metrics.count("redactions_total", kind)
        messages = [
            msgspec.structs.replace(message, text=result.text)
            for message, result in zip(exchange.messages, redacted, strict=True)
        ]
        return msgspec.structs.replace(exchange, messages=messages)

    async def _mask(self, text: str, known: Known) -> Redacted:
        if len(text) > _LONG:
            return await asyncio.to_thread(self._redactor.redact, text, known)
        return self._redactor.redact(text, known)


class Capture:
    """Watches one response on its way to the client.

    :meth:`feed` every piece before it is relayed; when it answers True, and at the clean end of the body in any case,
    await :meth:`close` before anything more is sent: the client must not see the end of an answer that is not durable.
    Never raises and never changes a byte. Most pieces are only put aside, and read when the answer is complete.
    Without a *conversation* nothing is journaled. *details* are filled in, if given.
    *usage*: what the answer took, known when it is closed, if upstream has told.
    """

    def __init__(
        self, conversation: Conversation | None, recorder: Recorder, block: str = "", details: Details | None = None
    ) -> None:
        self._conversation = conversation
        self._details = details
        self._recorder = recorder
        self._block = block
        self.usage: Usage | None = None
        self._fold: Fold | None = None
        self._hold: Callable[[bytes], bool] = _ignore

    def begin(self, status: int, content_type: bytes, content_encoding: bytes) -> None:
        """The response's head is there. Only a 2xx is worth folding."""
        if 200 <= status < 300:
            self._fold = Fold.for_response(content_type, content_encoding, self._details)
            self._hold = self._fold.hold

    def hold(self, piece: bytes) -> bool:
        """Notes *piece* if it certainly does not complete the answer; else nothing is done, and it must be fed."""
        return self._hold(piece)

    def feed(self, piece: bytes) -> bool:
        """Whether the answer is complete with this piece."""
        if self._hold(piece) or self._fold is None:
            return False
        complete = False
        with self._recorder.fail_open("fold") as step:
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
        with self._recorder.fail_open("fold"):
            reply = fold.finish()
            self.usage = fold.usage
        if self._details is not None and reply is not None:
            self._details.text = reply.text
        if self._conversation is None:
            return
        if reply is None:
            self._recorder.discard()
        else:
            await self._recorder.record(self._conversation, reply, self._block)

    def _forget(self) -> Fold | None:
        fold, self._fold, self._hold = self._fold, None, _ignore
        return fold


def _ignore(_: bytes) -> bool:
    return True
