"""Conversations as a chat client holds them, read by what stands on both sides of the journal."""

from datetime import UTC, datetime, timedelta

from proxy.config import DEFAULT_TEMPLATE
from proxy.dialects.answer import Reply
from proxy.edge.conversation import Conversation
from proxy.ledger import Tombstone
from proxy.models import Exchange, Message, Scope
from proxy.remember.plan import Plan
from proxy.remember.reconcile import Reconciler
from proxy.remember.shelf import Shelf

ADA = Scope("ada")
START = datetime(2026, 1, 2, 9, tzinfo=UTC)
NOTHING_ERASED = Tombstone(None, {}, frozenset())


class Memory:
    """What is kept of one user, by the text of it. The clock goes on a minute with each request."""

    def __init__(self, scope: Scope = ADA, template: str = DEFAULT_TEMPLATE, *, commands: bool = False) -> None:
        self.scope = scope
        self.tombstone = NOTHING_ERASED
        self.plan = Plan(Shelf())
        self.texts: dict[str, str] = {}
        self.now = START
        self._reconciler = Reconciler(template, commands=commands)

    def say(
        self,
        *said: str,
        answer: str | None = "Noted.",
        named: str | None = None,
        step: bool = False,
        block: str = "",
        later: timedelta = timedelta(minutes=1),
    ) -> Exchange:
        """One request: a conversation by turns, the user first. With no *answer* a tool is called."""
        self.now += later
        dialogue = [Message(("user", "assistant")[number % 2], text) for number, text in enumerate(said)]
        conversation = Conversation(self.scope, dialogue, len(dialogue) - 1, named, step=step, came=self.now)
        reply = Reply(answer or "", "stop" if answer else "tool_calls", truncated=False, is_step=answer is None)
        exchange = conversation.exchange(reply, block=block)
        self.take(exchange)
        return exchange

    def take(self, exchange: Exchange) -> None:
        """What the keeper makes of an exchange."""
        self._reconciler.take(self.plan, exchange, self.tombstone)
        self.texts |= {memory_id: draft.memory.text for memory_id, draft in self.plan.added.items()}

    @property
    def live(self) -> list[str]:
        """What holds, in the order in which it came."""
        return [self.texts[item.id] for item in self.plan.shelf if item.live]

    @property
    def superseded(self) -> list[str]:
        return [self.texts[item.id] for item in self.plan.shelf if not item.live]

    def positions(self) -> dict[str, int]:
        """Where in its conversation each text stands."""
        return {self.texts[item.id]: item.index for item in self.plan.shelf}
