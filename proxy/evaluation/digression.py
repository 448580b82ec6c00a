"""A sudden question in the middle of another conversation: stickiness must not be bought with blindness."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.embedders.base import Embedder
from proxy.evaluation.archive import pick
from proxy.evaluation.asking import Witness
from proxy.evaluation.chat import PLACEMENTS, Chat, Turn, list_turns, split_pack
from proxy.evaluation.dataset import Conversation, Question
from proxy.evaluation.examination import measure_share
from proxy.evaluation.statistics import Interval, mean_interval
from proxy.models import Message, Pack, Scope
from proxy.recall.continuation import Placement

# The question is the user's sixth message: by then a block stands, and has stood.
TURNS_BEFORE: Final = 5


@dataclass(frozen=True, slots=True)
class Digression:
    """The share of a sudden question's evidence in what memory says then, and in a block made for it alone."""

    questions: int
    sudden: Interval
    fresh: Interval


@dataclass(slots=True)
class _Tally:
    sudden: list[float] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)


class Digressions:
    """Asks the questions of a data set out of the blue, with each placement."""

    def __init__(self, embedder: Embedder, witness: Witness) -> None:
        self._embedder = embedder
        self._witness = witness
        self._tallies = {placement: _Tally() for placement in PLACEMENTS}

    async def visit(
        self, user_id: str, pack: Pack, conversations: Sequence[Conversation], questions: Sequence[Question]
    ) -> None:
        """Ask each of the user's *questions* that is not apart, where a conversation can be found for it."""
        for question in questions:
            conversation = None if question.is_apart else choose_conversation(conversations, question)
            if conversation is None:
                continue
            for placement, tally in self._tallies.items():
                sudden, fresh = await self._digress(Scope(user_id), pack, conversation, question, placement)
                tally.sudden.append(sudden)
                tally.fresh.append(fresh)

    def report(self) -> dict[str, Digression] | None:
        """By placement; None where no question could be asked."""
        if not all(tally.sudden for tally in self._tallies.values()):
            return None
        return {
            placement: Digression(len(tally.sudden), mean_interval(tally.sudden), mean_interval(tally.fresh))
            for placement, tally in self._tallies.items()
        }

    async def _digress(
        self, scope: Scope, pack: Pack, conversation: Conversation, question: Question, placement: Placement
    ) -> tuple[float, float]:
        history, own = split_pack(pack, conversation, keep_later=True)
        turns = list(list_turns(conversation))[:TURNS_BEFORE]
        dialogue = _break_off(conversation, turns, question)
        evidence = set(question.evidence)
        async with Chat(scope, history, self._embedder, self._witness, placement) as chat:
            for turn in turns:
                await chat.send(turn.dialogue)
                chat.learn(pick(pack, [own[row] for row in turn.rows]))
            sudden = await chat.send(dialogue)
            fresh = await chat.send(dialogue, sticky=False)
        return measure_share(evidence, sudden.shown), measure_share(evidence, fresh.shown)


def choose_conversation(conversations: Sequence[Conversation], question: Question) -> Conversation | None:
    """The latest one that is long enough and has none of the evidence."""
    busy = {conversation_id for conversation_id, _ in question.evidence}
    free = (c for c in conversations if c.id not in busy and len(list(list_turns(c))) >= TURNS_BEFORE)
    return max(free, key=lambda conversation: (conversation.started_at, conversation.id), default=None)


def _break_off(conversation: Conversation, turns: Sequence[Turn], question: Question) -> list[Message]:
    """The conversation so far, its last answer included, and the question instead of what came next."""
    return [*conversation.list_messages()[: turns[-1].rows.stop], Message("user", question.question)]
