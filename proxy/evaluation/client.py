"""One user's chat client: resends the whole history each time, as most do, and writes down what was said."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from proxy.evaluation.dataset import Conversation, Position
from proxy.evaluation.diary import Diary, Standing
from proxy.evaluation.live import Asked, Compose, Line, LiveProxy, Message
from proxy.evaluation.noise import Dice

SYSTEM: Final = "You are a helpful assistant."
# Between two requests.
_STEP: Final = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a user says, which answer it gets, and where both stand in the data set."""

    texts: list[str]
    answer: str
    places: list[Position]


@dataclass(slots=True)
class Client:
    """A user at the proxy. *statuses*: by the kind of request, what memory said to it."""

    user_id: str
    live: LiveProxy
    dice: Dice
    diary: Diary = field(default_factory=Diary)
    statuses: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


class Sitting:
    """One conversation of a client, or none: with *history* empty a request stands for itself."""

    def __init__(self, client: Client, began: datetime, conversation_id: str | None = None) -> None:
        self.client: Final = client
        self.history: list[Message] = []
        self.heard = ""  # the instructions of the last request, as upstream got them
        self._now = began
        self._id = conversation_id
        self._others = 0

    @property
    def is_nameless(self) -> bool:
        """Whether nothing tells which conversation it is: no id, and nothing that was said before."""
        return self._id is None and not self.history

    def begin_another(self, *, named: bool = True) -> "Sitting":
        """A conversation beside this one, with an id of its own where this one has one."""
        self._others += 1
        name = f"{self._id}+{self._others}" if named and self._id is not None else None
        return Sitting(self.client, self._now, name)

    async def hold(self, turn: Turn, *, before: Sequence[Message] = (), instructions: str = SYSTEM) -> None:
        """A turn of the data set. *before*: steps that its answer took."""
        for text in turn.texts:
            self.client.diary.note("user", text, "real", "said")
        self.client.diary.note("assistant", turn.answer, "real", "said")
        index = sum(map(_counts, self.history))
        for offset, (text, place) in enumerate(zip([*turn.texts, turn.answer], turn.places, strict=True)):
            self.client.diary.place(text, place, None if self._id is None else (self._id, index + offset))
        asked = [*_say(turn.texts), *before]
        await self.send("turn", asked, constantly(turn.answer), instructions=instructions)
        self.history += [*asked, {"role": "assistant", "content": turn.answer}]

    async def chat(self, text: str, compose: Compose, standing: Standing, label: str) -> str:
        """An exchange that the data set knows nothing of, which stays in the history; the answer."""
        self.client.diary.note("user", text, standing, label)
        answer = await self.send(label, _say([text]), compose)
        self.history += [*_say([text]), {"role": "assistant", "content": answer}]
        return answer

    async def send(
        self,
        label: str,
        messages: Sequence[Message],
        compose: Compose,
        *,
        is_call: bool = False,
        instructions: str = SYSTEM,
        more: Mapping[str, Any] | None = None,
        alone: bool = False,
    ) -> str:
        """A request that goes on from the history, or *alone* without it; the answer's text. Nothing is noted."""
        line = Line(compose, is_call)
        system = [{"role": "system", "content": instructions}] if instructions else []
        self._now += _STEP
        asked = Asked(
            user_id=self.client.user_id,
            at=self._now,
            messages=[*system, *([] if alone else self.history), *messages],
            line=line,
            conversation_id=self._id,
            stream=self.client.dice.random.random() < 0.5,
            more=more or {},
        )
        status = await self.client.live.ask(asked)
        self.client.statuses[label][status] += 1
        self.heard = line.heard
        return line.said


def constantly(text: str) -> Compose:
    """An answer that depends on nothing."""
    return lambda _: text


def _say(texts: Sequence[str]) -> list[Message]:
    return [{"role": "user", "content": text} for text in texts]


def _counts(message: Message) -> bool:
    """Whether it is one of the texts by which positions are counted."""
    return message["role"] == "user" or (message["role"] == "assistant" and message["content"] is not None)


def list_turns(conversation: Conversation) -> tuple[list[str], list[Turn]]:
    """What the assistant says first, and then every turn that has an answer.

    Of several answers in a row only the first one is an answer; the others are left out, and so is a message at the end
    that nobody answers.
    """
    messages, memories = conversation.list_messages(), conversation.memories
    greeting: list[str] = []
    turns: list[Turn] = []
    texts: list[str] = []
    places: list[Position] = []
    for message, memory in zip(messages, memories, strict=True):
        place = memory.conversation_id, memory.message_index
        if not message.text.strip():
            continue
        if message.role == "user":
            texts, places = [*texts, message.text], [*places, place]
        elif texts:
            turns.append(Turn(texts, message.text, [*places, place]))
            texts, places = [], []
        elif not turns:
            greeting.append(message.text)
    return greeting, turns
