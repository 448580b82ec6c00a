"""People who chat at a steady rate, whatever becomes of the server, and who know what they said and heard."""

import asyncio
import random
import time
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

import msgspec

from proxy.bench import talker
from proxy.bench.corpus import Babble
from proxy.bench.load import CHAT, CHAT_HEADERS, Endpoint, LoadError, work_together
from proxy.bench.servers import USER_HEADER
from proxy.models import Memory
from proxy.reporting.charts import Axis, Span, Timeline

USERS: Final = 30
WORDS: Final = range(8, 40)
MOST_TURNS: Final = 8
_GATEWAY: Final = (502, 504)
# The share of marked messages that ask for something said before, so that there is something to recall.
_ASKS: Final = 0.3
# An answer takes a fraction of a second. Who waits so long for one has been forgotten.
PATIENCE_S: Final = 30.0


class Said(NamedTuple):
    """One message, as it is sent and as it is stored."""

    role: str
    text: str


class Failure(NamedTuple):
    """A chat without a whole answer: which answer it asked for, and its time, in seconds since the epoch."""

    number: int
    began: float
    ended: float
    reason: str


class Conversation(msgspec.Struct):
    """What a client shows to its user. *id*: what it calls the conversation towards the server, if anything.

    *next*: what is said next, where the client repeats itself. *left*: for how many more turns it goes on.
    """

    user: str
    id: str | None
    left: int
    history: list[Said] = []
    next: str | None = None


class Losses(msgspec.Struct, frozen=True):
    """What is wrong with what is stored, in messages: not there, there more than once, and said by nobody."""

    lost: int = 0
    doubled: int = 0
    invented: int = 0


class Crowd:
    """Users in conversations of several turns, JSON and streams, half of which have an ``X-Conversation-Id``.

    A chat begins every 1/*rate* seconds, whether others are answered or not. Whoever gets no whole answer says the same
    again, says something else in its place, or gives the conversation up. *refused* are chats that began while nobody
    listened, *broken* those without a whole answer; *wrong* ones among these got another than upstream's.
    """

    def __init__(self, url: str, *, seed: int, rate: float, marked: bool = False) -> None:
        """With *marked*, every message says whose it is, and some ask for what was said before: see :mod:`talker`."""
        self.begun = self.refused = self.broken = self.wrong = 0
        self.failures: list[Failure] = []
        self.started = 0.0  # in seconds since the epoch
        self._answered: Counter[int] = Counter()  # by second since then
        self._marked = marked
        self.over = False
        self.seconds = 0.0
        self._rate = rate
        self._endpoint = Endpoint(url)
        self._random = random.Random(seed)  # noqa: S311  # repeatable, not secret
        self._babble = Babble(f"crowd {seed}")
        self._conversations = 0
        self._idle: deque[Conversation] = deque()
        self._said: defaultdict[str, set[Said]] = defaultdict(set)
        self._finished: defaultdict[str, set[Said]] = defaultdict(set)

    @property
    def users(self) -> Iterable[str]:
        return self._said

    @property
    def finished(self) -> int:
        """Exchanges whose end a client has seen."""
        return sum(map(len, self._finished.values())) // 2

    def said(self, user: str) -> list[Said]:
        """All that a user has sent, and what upstream would answer to it."""
        return sorted(self._said[user])

    async def talk(self, *, most: float = inf) -> None:
        """Chats until :attr:`over`, or *most* chats have begun, and hears out what is still being answered then."""
        loop = asyncio.get_running_loop()
        began = due = loop.time()
        self.started = time.time()
        async with work_together() as group:
            while not self.over and self.begun < most:
                due += 1 / self._rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                self.begun += 1
                group.create_task(self._chat(self._choose()))
            self.seconds = loop.time() - began
        self._endpoint.close()

    def review(self, user: str, stored: Iterable[Memory]) -> Losses:
        """Compares what a user said and heard with all that is *stored* of the user."""
        found = Counter(Said(memory.role, memory.text) for memory in stored)
        return Losses(
            lost=len(self._finished[user] - found.keys()),
            doubled=sum(count > 1 for count in found.values()),
            invented=len(found.keys() - self._said[user]),
        )

    def draw(self, title: str, caption: str, lanes: Mapping[str, Sequence[Span]]) -> Timeline:
        """Chats that ended well, and others, over time, above *lanes* of what happened meanwhile."""
        failed = Counter(int(failure.ended - self.started) for failure in self.failures)
        return Timeline.of(
            {"answered": self._answered, "failed": failed},
            title=title,
            caption=f"Above: chats by when they ended. {caption}",
            lanes=lanes,
            y=Axis(label="chats that ended", unit="/s"),
        )

    def _choose(self) -> Conversation:
        """One that goes on, or a new one: always where all others wait for an answer."""
        self._idle.rotate(self._random.randrange(len(self._idle) + 1))
        if self._idle and self._random.random() < 0.8:
            return self._idle.popleft()
        self._conversations += 1
        user = f"user {self._random.randrange(USERS)}"
        name = f"talk {self._conversations}" if self._random.random() < 0.5 else None
        return Conversation(user, name, self._random.randint(1, MOST_TURNS))

    async def _chat(self, conversation: Conversation) -> None:
        text = conversation.next or self._compose(conversation.user)
        number = zlib.crc32(text.encode())
        began = time.time()
        exchange = [Said("user", text), Said("assistant", talker.compose(number))]
        self._said[conversation.user].update(exchange)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._ask(conversation, exchange[0], number)
        except (LoadError, TimeoutError) as exc:
            self.failures.append(Failure(number, began, time.time(), str(exc) or type(exc).__name__))
            self._despair(conversation, text, exc)
            return
        self._finished[conversation.user].update(exchange)
        self._answered[int(time.time() - self.started)] += 1
        conversation.history = [*conversation.history, *exchange]
        conversation.next = None
        conversation.left -= 1
        if conversation.left:
            self._idle.append(conversation)

    def _compose(self, user: str) -> str:
        text = self._babble.text(self._random.choice(WORDS))
        if not self._marked:
            return text
        asked = sorted(said.text for said in self._finished[user] if said.role == "user")
        if asked and self._random.random() < _ASKS:
            words = self._random.choice(asked).split()[:6]
            text = f"{text} What was that about {' '.join(words)}?"
        return f"{text} {talker.mark(user)}"

    async def _ask(self, conversation: Conversation, message: Said, number: int) -> None:
        """Returns at the last byte that matters: of a stream, that of its last event."""
        stream = self._random.random() < 0.5
        messages = [{"role": said.role, "content": said.text} for said in (*conversation.history, message)]
        body = msgspec.json.encode({"model": talker.MODEL, "messages": messages, "stream": stream})
        expected = b"".join(talker.render_stream(number)) if stream else talker.render(number)
        headers = self._make_headers(conversation, number)
        answer = await self._endpoint.call("POST", CHAT, {**CHAT_HEADERS, **headers}, body, enough=len(expected))
        if (answer.status, answer.body) != (200, expected):
            # Of a load balancer whose replica has died: no answer at all.
            self.wrong += answer.status not in _GATEWAY
            raise LoadError(f"answered {answer.status}: {answer.body[:200]!r}")

    def _make_headers(self, conversation: Conversation, number: int) -> dict[str, str]:
        headers = {USER_HEADER: conversation.user, talker.HEADER: str(number)}
        if conversation.id is not None:
            headers["X-Conversation-Id"] = conversation.id
        return headers

    def _despair(self, conversation: Conversation, text: str, failure: Exception) -> None:
        """What a client does without a whole answer."""
        if isinstance(failure.__cause__, ConnectionRefusedError):
            self.refused += 1
        else:
            self.broken += 1
        choice = self._random.random()
        conversation.next = text if choice < 0.5 else None
        if choice < 0.75:
            self._idle.append(conversation)
