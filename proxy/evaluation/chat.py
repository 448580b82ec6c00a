"""Conversations held again, request by request, through the code that serves clients."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from proxy.dialects.chat_completions import ChatRequest
from proxy.embedders.base import Embedder
from proxy.errors import MemoryProxyError
from proxy.evaluation.archive import pick
from proxy.evaluation.asking import DEFAULT_BUDGET, Witness, count_quarters
from proxy.evaluation.dataset import Conversation
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.models import Memory, Message, Pack, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.recall.continuation import Placement
from proxy.recall.service import RecallService, Recollection
from proxy.tasks import Tasks

PLACEMENTS: Final[tuple[Placement, ...]] = ("system", "tail")

# Nothing here is late: the figures are of what recall finds, not of when.
_PATIENCE_S: Final = 60.0
_SYSTEM: Final = {"role": "system", "content": "You are a helpful assistant."}


class PackKeeper(KeeperClient):
    """Stands in for the keeper of one user: hands out a pack, and announces what is added later."""

    def __init__(self, pack: Pack, tasks: Tasks) -> None:
        super().__init__(Path(), tasks)
        self._pack = pack

    async def load(self, scope: Scope) -> AsyncGenerator[wire.Part, None]:
        """All in one part."""
        yield wire.Part(self._pack, 0)

    def add(self, scope: Scope, pack: Pack) -> None:
        """As the keeper does when new memories are durable."""
        self.on_change(wire.Changed(scope, pack))


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as upstream gets it. *plain* and *prompt*: without and with memory, one text a message.

    *shown* are the memories in it.
    """

    plain: list[str]
    prompt: list[str]
    shown: list[Memory]


class Chat:
    """A user in conversation with a chatbot that has memory; *history* are the memories it begins with.

    *witness* sees every block.
    """

    def __init__(
        self, scope: Scope, history: Pack, embedder: Embedder, witness: Witness, placement: Placement = "system"
    ) -> None:
        self._scope = scope
        self._tasks = Tasks()
        self._keeper = PackKeeper(history, self._tasks)
        self._witness = witness
        self._service = make_service(self._keeper, embedder, self._tasks, placement)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.cancel()

    async def send(self, messages: Sequence[Message], *, sticky: bool = True) -> Sent:
        """The request that asks for an answer to the end of *messages*. Not *sticky*: as if it were the first one."""
        said = [{"role": message.role, "content": message.text} for message in messages]
        body = msgspec.json.encode({"model": "m", "messages": [_SYSTEM, *said]})
        request = ChatRequest(body)
        recollection = await recall(self._service, self._scope, request.dialogue, sticky=sticky)
        block = recollection.block
        self._witness.see(self._scope.user_id, block)
        injected = body
        if recollection.tail is not None:
            injected = request.inject_tail(recollection.tail)
        elif block is not None:
            injected = request.inject(block.text)
        return Sent(_read_texts(body), _read_texts(injected), block.memories if block else [])

    def learn(self, pack: Pack) -> None:
        """What was said meanwhile is remembered."""
        self._keeper.add(self._scope, pack)


def make_service(keeper: KeeperClient, embedder: Embedder, tasks: Tasks, placement: Placement) -> RecallService:
    """Recall as the proxy has it, but for how tokens are counted."""
    return RecallService(keeper, embedder, count_quarters, FailOpen(Metrics()), tasks, placement=placement)


async def recall(
    service: RecallService, scope: Scope, dialogue: Sequence[Message], *, sticky: bool = True
) -> Recollection:
    """What goes into a request that has come to the end of *dialogue*, with the default budget.

    Raises:
        MemoryProxyError: recall failed, which a chat would survive; a measurement should not.
    """
    found = await service.recall(scope, dialogue, budget_tokens=DEFAULT_BUDGET, deadline_s=_PATIENCE_S, sticky=sticky)
    if found.status not in ("injected", "empty"):
        raise MemoryProxyError(f"recall did not work: {found.status}")
    return found


def _read_texts(body: bytes) -> list[str]:
    """Role and text of each message, as a model's template would put them."""
    return [f"<{message['role']}>\n{message['content']}\n" for message in msgspec.json.decode(body)["messages"]]


@dataclass(frozen=True, slots=True)
class Turn:
    """A point at which the user waits for an answer: *dialogue* so far, and the rows of what is then remembered."""

    dialogue: list[Message]
    rows: range


def list_turns(conversation: Conversation) -> Iterator[Turn]:
    """Every request of a conversation. *rows* count its messages: those of this request, with the answer to it."""
    messages = conversation.list_messages()
    ends = [
        place
        for place, message in enumerate(messages, start=1)
        if message.role == "user" and (place == len(messages) or messages[place].role != "user")
    ]
    for end in ends:
        dialogue = messages[:end]
        yield Turn(dialogue, range(end - _count_new(dialogue), min(end + 1, len(messages))))


def _count_new(messages: Sequence[Message]) -> int:
    """How many messages at the end are the user's."""
    answers = [place for place, message in enumerate(messages) if message.role == "assistant"]
    return len(messages) - 1 - answers[-1] if answers else len(messages)


def split_pack(pack: Pack, conversation: Conversation, *, keep_later: bool) -> tuple[Pack, list[int]]:
    """What was remembered when *conversation* began, and the rows of *pack* that are its messages, in order.

    *keep_later*: also what was said in conversations that began after it.
    """
    own = {memory.id: place for place, memory in enumerate(conversation.memories)}
    rows = {own[memory.id]: row for row, memory in enumerate(pack.memories) if memory.id in own}
    history = [
        row
        for row, memory in enumerate(pack.memories)
        if memory.id not in own and (keep_later or memory.created_at < conversation.started_at)
    ]
    return pick(pack, history), [rows[place] for place in sorted(rows)]
