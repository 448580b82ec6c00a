"""The last chats, kept in memory for people who look: all at once, or each as it ends."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from proxy.config import Settings
from proxy.edge import answers, parameters
from proxy.edge.dataplane import Route
from proxy.edge.operations import EVENTS
from proxy.errors import ApiError
from proxy.models import Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.served import Served
from proxy.observe.traces import Recalled, Trace

# Streams at a time: each is somebody's open page.
MOST_FOLLOWERS: Final = 64
# Of what one of them has not read yet. Who is further behind is cut off, and asks again for what has come since.
MOST_UNREAD: Final = 1000
# The longest silence on a stream, so that nobody on the way takes it for dead.
HEARTBEAT_S: Final = 15.0
# Of a question or an answer that is kept, in characters.
LONGEST_TEXT: Final = 100_000

Redact = Callable[[str], str]


class _Follower:
    """Somebody who hears of every chat as it ends."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[Trace | None] = asyncio.Queue(MOST_UNREAD)
        self.is_lost = False

    def tell(self, trace: Trace | None) -> None:
        """None: there will be no more."""
        try:
            self.news.put_nowait(trace)
        except asyncio.QueueFull:
            self.is_lost = True


class Traces:
    """Keeps the last chats of this process, and of those that share its port. For one event loop.

    Nothing is kept of them but what a trace has, and that is put together when somebody looks: with each request it
    costs a microsecond. *on_trace* hears of each chat of this process as it ends, where others are to know of it.
    """

    def __init__(self, settings: Settings, redact: Redact, fail_open: FailOpen) -> None:
        self.on_trace: Callable[[Trace], None] | None = None
        self._kept: deque[Served | Trace] = deque(maxlen=settings.traces.keep)
        self._has_content = settings.traces.content
        self._redact = redact
        self._fail_open = fail_open
        self._followers: set[_Follower] = set()
        self._last = 0
        self._is_closed = False

    def note(self, served: Served, route: Route, code: str) -> None:
        """A request has ended; only chats are kept."""
        if route != "chat" or not self._kept.maxlen:
            return
        with self._fail_open("trace"):
            _keep(served, code, self._number(), has_content=self._has_content)
            self._kept.append(served)
            if self._followers or self.on_trace is not None:
                trace = self._describe(served)
                self._tell(trace)
                if self.on_trace is not None:
                    self.on_trace(trace)

    def take(self, traces: Iterable[Trace]) -> None:
        """Chats that another process has served."""
        for trace in traces:
            self._kept.append(trace)
            self._tell(trace)

    def page(self, limit: int, before: int | None) -> tuple[list[Trace], int | None]:
        """The last ones with a smaller number than *before*, newest first, and the number of the last of them where
        there are more.
        """
        # Those of other processes come a little late.
        older = (kept for kept in self._kept if before is None or kept.number < before)
        ordered = sorted(older, key=lambda kept: kept.number, reverse=True)
        cursor = ordered[limit - 1].number if len(ordered) > limit else None
        return [self._describe(kept) for kept in ordered[:limit]], cursor

    def follow(self, after: int | None) -> AsyncIterator[Trace | None]:
        """Chats as they end, beginning with those kept that ended *after* this number; None where nothing came for a
        while. It ends when the process does, and when what was told is not read.

        Raises:
            ApiError: there are too many who follow already.
        """
        if len(self._followers) >= MOST_FOLLOWERS:
            raise ApiError(429, "too_many_streams", "Too many streams of traces are open.", retry_after=10)
        follower = _Follower()
        if after is not None:
            missed = sorted((kept for kept in self._kept if kept.number > after), key=lambda kept: kept.number)
            for kept in missed[-MOST_UNREAD + 1 :]:
                follower.tell(self._describe(kept))
        if self._is_closed:
            follower.tell(None)
        self._followers.add(follower)
        return self._follow(follower)

    async def _follow(self, follower: _Follower) -> AsyncIterator[Trace | None]:
        try:
            while not follower.is_lost:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        trace = await follower.news.get()
                except TimeoutError:
                    yield None
                    continue
                if trace is None:
                    return
                yield trace
        finally:
            self._followers.discard(follower)

    def forget(self, user_key: str | None, everything: bool) -> None:
        """Keeps no words of a user, known by :attr:`Scope.key`, or with None of anybody; with *everything*, not even
        that they were here.
        """
        with self._fail_open("trace"):
            rest = [_forget(kept, user_key, everything=everything) for kept in self._kept]
            self._kept = deque((kept for kept in rest if kept is not None), self._kept.maxlen)

    def close(self) -> None:
        """Ends all streams: the process is about to end."""
        self._is_closed = True
        for follower in self._followers:
            follower.tell(None)

    def _tell(self, trace: Trace) -> None:
        for follower in self._followers:
            follower.tell(trace)

    def _number(self) -> int:
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return self._last

    def _describe(self, kept: Served | Trace) -> Trace:
        return kept if isinstance(kept, Trace) else _describe(kept, self._redact if self._has_content else None)


def _keep(served: Served, code: str, number: int, *, has_content: bool) -> None:
    """Notes how the request has ended, and lets go of its head and of what others are through with."""
    served.keep_id()
    served.code, served.number, served.ended = code, number, time.perf_counter()
    served.headers = []
    if (watch := served.watch) is not None:
        served.first, served.usage, served.watch = watch.first, watch.usage, None
    if served.span is not None:
        served.span = None
    if served.details is not None:
        served.answer = served.details.text if has_content else ""
        served.details = None
    if served.dialogue:
        served.dialogue = served.instructions = served.memories = ()


def _describe(served: Served, redact: Redact | None) -> Trace:
    """The trace; with words if they can be made harmless."""
    scope, lasted = served.scope, served.ended - served.began
    return Trace(
        id=served.id,
        number=served.number,
        at=datetime.fromtimestamp(served.number / 1e6 - lasted, UTC),
        user_id=None if scope is None else scope.user_id,
        tenant="" if scope is None else scope.tenant,
        client=served.client,
        conversation_id=served.conversation_id,
        model=served.model,
        stream=served.is_streamed,
        code=served.code,
        memory=served.memory,
        error=served.error,
        count=served.count,
        tokens=served.tokens,
        memories=[Recalled(memory_id, round(score, 4)) for memory_id, score in served.recalled],
        recall_ms=_ms(served.recall_s),
        first_token_ms=_ms(served.first - served.began) if served.first else None,
        total_ms=_ms(lasted),
        usage=served.usage,
        block=UNSET if redact is None else _show(served.block),
        question=UNSET if redact is None else _show(redact(served.question[:LONGEST_TEXT])),
        answer=UNSET if redact is None else _show(redact(served.answer[:LONGEST_TEXT])),
    )


def _show(text: str) -> str | UnsetType:
    return text or UNSET


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _forget(kept: Served | Trace, user_key: str | None, *, everything: bool) -> Served | Trace | None:
    scope = _find_scope(kept)
    if user_key is not None and (scope is None or scope.key != user_key):
        return kept
    if everything:
        return None
    if isinstance(kept, Trace):
        return kept.without_words()
    kept.answer = kept.block = kept.question = ""
    return kept


def _find_scope(kept: Served | Trace) -> Scope | None:
    if isinstance(kept, Served):
        return kept.scope
    return None if kept.user_id is None else Scope(kept.user_id, kept.tenant)


def render_event(trace: Trace | None) -> bytes:
    """A trace as a server-sent event, or a comment where there is none."""
    if trace is None:
        return b":\n\n"
    return b"id: %d\nevent: trace\ndata: %b\n\n" % (trace.number, msgspec.json.encode(trace))


class TraceRoutes:
    """``GET /memory/traces`` and ``/memory/traces/stream``."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    async def list(self, request: Request) -> Response:
        """The last chats, page by page."""
        page, cursor = self._traces.page(parameters.read_limit(request), parameters.read_trace_cursor(request))
        body = answers.TraceList(page, None if cursor is None else str(cursor))
        return Response(msgspec.json.encode(body), media_type="application/json")

    async def stream(self, request: Request) -> Response:
        """Each chat as it ends."""
        after = parameters.read_number(request.headers.get("last-event-id"), "last_event_id")
        followed = self._traces.follow(after)
        # nginx would collect some of them first.
        return StreamingResponse(_render(followed), media_type=EVENTS, headers={"x-accel-buffering": "no"})


async def _render(followed: AsyncIterator[Trace | None]) -> AsyncIterator[bytes]:
    yield render_event(None)  # so that whoever asks knows at once that it has begun
    async for trace in followed:
        yield render_event(trace)
