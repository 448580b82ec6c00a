"""What chats take, and what memory makes of a difference: seconds, and tokens as the upstream reports them."""

import time
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
# Others are let go of when there are so many.
_MOST_PIECES: Final = 32


class Tail:
    """Keeps the end of an answer that nobody else reads, for what it says there of its cost.

    It holds on to the last pieces as they came, so that one of them costs nothing but a reference. What is compressed
    is not looked at. Its methods are as of :class:`Capture`.
    """

    __slots__ = ("_is_whole", "_keeps", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # a deque of so many takes ten times as long to make, and most get one piece
        self._keeps = False
        self._is_whole = False

    def begin(self, status: int, _: bytes, content_encoding: bytes) -> None:
        """The response's head is there."""
        self._keeps = 200 <= status < 300 and content_encoding in (b"", b"identity")

    def hold(self, piece: bytes) -> bool:
        """Takes any piece."""
        pieces = self._pieces
        pieces.append(piece)
        if len(pieces) > _MOST_PIECES:
            del pieces[:-_PIECES]
        return True

    def feed(self, piece: bytes) -> bool:
        """Nothing has to be done before the client gets the last one."""
        self.hold(piece)
        return False

    async def close(self) -> None:
        """The answer has come to its end."""
        self._is_whole = True

    @property
    def usage(self) -> Usage | None:
        """What the answer took, if it says so at its end."""
        if not (self._keeps and self._is_whole):
            return None
        end = b""
        for piece in reversed(self._pieces):
            end = piece[-TAIL:] + end
            if len(end) >= TAIL:
                break
        return find_usage(end)


class Watch:
    """Follows one chat from the moment it goes upstream: :meth:`send`, :meth:`begin`, its pieces, :meth:`end`.

    For the pieces it is what *rest* is, who reads them; the first of them is only noted on its way. Never raises.

    Attributes:
        ready: when the chat might have gone upstream, had nothing but recall taken any time.
        sent: when it did.
        first: when its answer began, 0.0 as long as it has not.
        place: where the experiment has its user, if the chat is one of it.
        has_block: whether the request tells the model of memory.
        usage: what the answer took, once it has ended and if upstream has told.
        hold: as of *rest*; from the second piece on its own method, because a call in between would cost as much again.
    """

    __slots__ = ("_is_answer", "_measures", "first", "has_block", "hold", "place", "ready", "rest", "sent", "usage")

    def __init__(
        self, rest: Capture | Tail, measures: "Measures", place: Place | None, *, ready: float, has_block: bool
    ) -> None:
        self.rest = rest
        self.place = place
        self.ready = ready
        self.has_block = has_block
        self.usage: Usage | None = None
        self.sent = 0.0
        self.first = 0.0
        self.hold: Callable[[bytes], bool] = self._take_first
        self._measures = measures
        self._is_answer = False

    def send(self) -> None:
        """The request goes upstream now."""
        self.sent = time.perf_counter()

    def begin(self, status: int, content_type: bytes, content_encoding: bytes) -> None:
        """The response's head is there."""
        # What an error begins with is no token.
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
        if self._is_answer and _says_something(piece):
            self.first = time.perf_counter()
            self.hold = self.rest.hold


def _says_something(piece: bytes) -> bool:
    """Whether it is more than a sign of life: a comment in a stream, of the upstream's or ours, or blank lines."""
    return bool(piece) and not piece.isspace() and not (piece.startswith(b":") and b"data:" not in piece)


class _Series:
    """Where chats with a block are counted, or those without one."""

    def __init__(self, metrics: Metrics, label: str) -> None:
        self.wait = metrics.find("upstream_first_token_seconds", label)
        self.prompt = metrics.find("prompt_tokens_total", label)
        self.cached = metrics.find("cached_prompt_tokens_total", label)
        self.completion = metrics.find("completion_tokens_total", label)


class Measures:
    """Counts chats. One instance serves all requests of an edge; what fails here costs nobody an answer."""

    def __init__(self, metrics: Metrics, fail_open: FailOpen, settings: Settings) -> None:
        self.experiment = Experiment()
        # In mode shadow everybody is held out.
        self._draw = Draw(100 if settings.memory.mode == "shadow" else settings.memory.holdout_percent)
        self._fail_open = fail_open
        self._relayed = metrics.find("relay_seconds")
        self._with = _Series(metrics, "with")
        self._without = _Series(metrics, "without")

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
        """Follows one chat; see there."""
        return Watch(capture or Tail(), self, place, ready=ready, has_block=recollection.block is not None)

    def note_end(self, watch: Watch) -> None:
        """The chat is over."""
        with self._fail_open("measure"):
            self._relayed(watch.sent - watch.ready)
            usage = watch.usage = watch.rest.usage
            waited = watch.first - watch.sent if watch.first else None
            _count(usage, waited, self._with if watch.has_block else self._without)
            if watch.place is not None:
                self.experiment.arm(watch.place).note_answer(watch.place, usage, waited)


def _count(usage: Usage | None, waited: float | None, series: _Series) -> None:
    if waited is not None:
        series.wait(waited)
    if usage is not None:
        series.prompt(usage.prompt)
        series.completion(usage.completion)
        if usage.cached:
            series.cached(usage.cached)


def _corrects(request: ChatRequest) -> bool | None:
    """Whether the newest message takes exception to the answer before it; None where there is none."""
    dialogue, last = request.dialogue, request.first_new - 1
    if last < 0 or not request.new:
        return None
    asked = next((dialogue[at].text for at in range(last - 1, -1, -1) if dialogue[at].role == "user"), None)
    return corrects(dialogue[-1].text, asked)
