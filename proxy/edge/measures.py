"""What chats take, and what memory makes of a difference: seconds, and tokens as the upstream reports them."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from proxy.config import Settings
from proxy.dialects.chat_completions import ChatRequest
from proxy.dialects.usage import TAIL, find_usage
from proxy.edge.capture import Capture
from proxy.experiment.arms import Draw, Experiment, Place
from proxy.experiment.corrections import corrects
from proxy.models import Scope, Usage
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.recall.service import Recollection

# What of an answer is kept, at the least: servers send the last event, and the end after it, in pieces of their own.
_PIECES: Final = 16


class Tail:
    """Keeps the end of an answer that nobody else reads, for what it says there of its cost.

    It holds on to the last pieces as they came, so that one of them costs nothing but a reference. What is compressed
    is not looked at.
    """

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque(maxlen=_PIECES)
        self._keeps = False
        self._is_whole = False

    def begin(self, status: int, _: bytes, content_encoding: bytes) -> None:
        """As of :class:`Capture`."""
        self._keeps = 200 <= status < 300 and content_encoding in (b"", b"identity")

    def hold(self, piece: bytes) -> bool:
        """Takes any piece."""
        self._pieces.append(piece)
        return True

    def feed(self, piece: bytes) -> bool:
        """Nothing has to be done before the client gets the last one."""
        self._pieces.append(piece)
        return False

    async def close(self) -> None:
        """The answer has come to its end."""
        self._is_whole = True

    @property
    def usage(self) -> Usage | None:
        """What the answer took, if it says so at its end."""
        if not (self._keeps and self._is_whole):
            return None
        kept: list[bytes] = []
        size = 0
        for piece in reversed(self._pieces):
            kept.append(piece)
            size += len(piece)
            if size >= TAIL:
                break
        return find_usage(b"".join(reversed(kept))[-TAIL:])


class Watch:
    """Follows one chat from the moment it goes upstream: :meth:`send`, :meth:`begin`, its pieces, :meth:`end`.

    For the pieces it is what *rest* is, who reads them; the first of them is only noted on its way. Never raises.
    """

    hold: Callable[[bytes], bool]
    """As of *rest*: its own method from the second piece on, because a call in between would cost as much again."""

    def __init__(
        self, rest: Capture | Tail, measures: "Measures", ready: float, place: Place | None, label: str
    ) -> None:
        self.rest = rest
        self.ready = ready
        self.place = place
        self.label = label
        self.sent = 0.0
        self.first = 0.0
        self.hold = self._take_first
        self._measures = measures
        self._is_answer = False

    def send(self) -> None:
        """The request goes upstream now."""
        self.sent = time.perf_counter()

    def begin(self, status: int, content_type: bytes, content_encoding: bytes) -> None:
        """The response's head is there."""
        self._is_answer = 200 <= status < 300
        self.rest.begin(status, content_type, content_encoding)

    def feed(self, piece: bytes) -> bool:
        """As of *rest*."""
        if not self.first:
            self._note_first(piece)
        return self.rest.feed(piece)

    async def close(self) -> None:
        """As of *rest*."""
        await self.rest.close()

    def end(self) -> None:
        """Nothing more will come, whatever the reason. What was seen is counted now, when nobody waits any more."""
        self._measures.note_end(self)

    def _take_first(self, piece: bytes) -> bool:
        self._note_first(piece)
        return self.rest.hold(piece)

    def _note_first(self, piece: bytes) -> None:
        # The answer of an error has a first byte, but no token.
        if piece and self._is_answer:
            self.first = time.perf_counter()
        if piece:
            self.hold = self.rest.hold


class Measures:
    """Counts chats. One instance serves all requests of an edge; what fails here costs nobody an answer."""

    def __init__(self, metrics: Metrics, fail_open: FailOpen, settings: Settings) -> None:
        self.experiment = Experiment()
        # In mode shadow everybody is held out.
        self._draw = Draw(100 if settings.memory.mode == "shadow" else settings.memory.holdout_percent)
        self._metrics = metrics
        self._fail_open = fail_open

    def place(self, scope: Scope) -> Place | None:
        """Where in the experiment *scope* is."""
        with self._fail_open("measure"):
            return self._draw.place(scope)
        return None

    def note_turn(self, place: Place, request: ChatRequest, recollection: Recollection) -> None:
        """A user's turn is about to go upstream, with what *recollection* has found or without it."""
        with self._fail_open("measure"):
            tokens = recollection.withheld if recollection.block is None else recollection.block.tokens
            self.experiment.arm(place).note_turn(place, tokens, _corrects(request))

    def watch(self, capture: Capture | None, recollection: Recollection, place: Place | None, *, ready: float) -> Watch:
        """Follows one chat. *ready*: when it might have gone upstream, had nothing but recall taken any time."""
        label = "without" if recollection.block is None else "with"
        return Watch(capture or Tail(), self, ready, place, label)

    def note_end(self, watch: Watch) -> None:
        """The chat is over."""
        with self._fail_open("measure"):
            if watch.sent:
                self._metrics.observe("relay_seconds", watch.sent - watch.ready)
            arm = None if watch.place is None else self.experiment.arm(watch.place)
            if watch.first:
                waited = watch.first - watch.sent
                self._metrics.observe("upstream_first_token_seconds", waited, watch.label)
                if arm is not None and watch.place is not None:
                    arm.note_wait(watch.place, waited)
            usage = watch.rest.usage
            if usage is not None:
                self._note_usage(usage, watch.label)
                if arm is not None and watch.place is not None:
                    arm.note_usage(watch.place, usage)

    def _note_usage(self, usage: Usage, label: str) -> None:
        self._metrics.count("prompt_tokens_total", label, by=usage.prompt)
        self._metrics.count("completion_tokens_total", label, by=usage.completion)
        if usage.cached:
            self._metrics.count("cached_prompt_tokens_total", label, by=usage.cached)


def _corrects(request: ChatRequest) -> bool | None:
    """Whether the newest message takes exception to the answer before it; None where there is none."""
    dialogue, last = request.dialogue, request.first_new - 1
    if last < 0 or not request.new:
        return None
    asked = next((dialogue[at].text for at in range(last - 1, -1, -1) if dialogue[at].role == "user"), None)
    return corrects(dialogue[-1].text, asked)
