"""From an exchange to what is kept of it: classified, in its place, and reconciled with what is known already."""

import re
from typing import Final

import msgspec

from proxy import chain
from proxy.config import MEMORIES
from proxy.cues.base import WITHDRAWN
from proxy.cues.courtesies import COURTESIES
from proxy.ledger import Tombstone
from proxy.models import Exchange, Memory, Message
from proxy.remember.branches import Place, abandon_siblings, find_earlier_attempts, find_place, replace_answers
from proxy.remember.plan import MOST_SOURCES, Draft, Plan
from proxy.remember.records import find_stated
from proxy.remember.segment import CUT_MARK, make_turn
from proxy.remember.shelf import find_gist
from proxy.text import terms

# What is said back to a greeting or thanks is shorter; a longer answer to "yes, please" says something.
_COURTESY: Final = 200
# A shorter opening of a template could stand in anybody's text.
_SHORTEST_FRAME: Final = 20
# In characters: no greeting is longer.
_SHORT: Final = 80
_ANY_WORD: Final = re.compile(r"\w{5}")
_WORD: Final = re.compile(r"\w+(?:'\w+)*")
_COMMAND: Final = re.compile(r"\s*/memory(?:\s|\Z)", re.IGNORECASE)


class Reconciler:
    """Reads exchanges into plans. *template*: what blocks look like, so that one which is sent back is known again.

    *commands*: messages may be commands to memory, which the proxy has answered itself.
    """

    def __init__(self, template: str, *, commands: bool = False) -> None:
        self._block = _match_block(template)
        self._commands = commands

    def take(self, plan: Plan, exchange: Exchange, tombstone: Tombstone) -> None:
        """What *exchange* adds and changes. The same exchange taken again changes nothing."""
        if tombstone.erased_at is not None and exchange.at <= tombstone.erased_at:
            plan.tally["erased"] += len(exchange.messages)
            return
        links = chain.split(exchange.links) or [chain.digest(exchange.scope, said) for said in exchange.messages]
        if exchange.step and not _is_asked(plan, exchange, links):
            plan.tally["unasked"] += len(exchange.messages)
            return
        place = find_place(plan.shelf, exchange)
        drafts = self._read(plan, exchange, place, links, tombstone)
        if drafts and drafts[0].memory.role == "user" and not _is_taken(plan, drafts[0]):
            abandon_siblings(plan, place, exchange, drafts[0].memory.id)
        for draft in drafts:
            _settle(plan, draft, exchange)

    def _read(
        self, plan: Plan, exchange: Exchange, place: Place, links: list[bytes], tombstone: Tombstone
    ) -> list[Draft]:
        """The messages that are worth keeping, as memories."""
        last = _find_last_asking(exchange)
        end, drafts, asked = place.chain, [], True
        for number, said in enumerate(exchange.messages):
            start, end = end, chain.extend(end, links[number : number + 1])
            memory = self._make_turn(exchange, place, number)
            if said.role == "user":
                known_as = _list_digests(links[number], end, memory, exchange, is_last=number == last)
                flaw = _find_flaw(memory, exchange, tombstone, known_as)
                if self._commands and _COMMAND.match(said.text):
                    flaw = "command"  # of a client that drops the answers to them, and so sends it again
                asked = flaw != "erased"
            else:
                flaw = _find_answer_flaw(memory, exchange, tombstone, asked=asked)
            if flaw:
                plan.tally[flaw] += 1
            else:
                drafts.append(Draft(memory, end, start, find_stated(memory)))
        return drafts

    def _make_turn(self, exchange: Exchange, place: Place, number: int) -> Memory:
        said = exchange.messages[number]
        text = said.text
        if self._block is not None and self._block.search(text):  # memories that came back with it
            text = self._block.sub("", text).strip()
        message = Message(said.role, text, said.name, said.created_at)
        turn = make_turn(exchange.scope, place.conversation_id, place.index + number, message, exchange.at)
        if exchange.truncated and number == len(exchange.messages) - 1:
            turn = msgspec.structs.replace(turn, text=turn.text + CUT_MARK)
        return turn


def _settle(plan: Plan, draft: Draft, exchange: Exchange) -> None:
    """Adds one memory, and supersedes what it takes the place of."""
    memory = draft.memory
    known = plan.shelf.get(memory.id)
    if known is not None and (known.live or known.origin == "hand" or _is_taken(plan, draft)):
        plan.tally["known"] += 1
        return
    if memory.role == "assistant":
        replace_answers(plan, draft.parent, draft.chain, exchange, memory.id)
    else:
        for item in find_earlier_attempts(plan.shelf, draft.chain, exchange):
            plan.remove(item)
    draft = _gather(plan, draft)
    supersede_by_topic(plan, draft)
    plan.add(draft)
    plan.tally["stored"] += 1


def _is_taken(plan: Plan, draft: Draft) -> bool:
    """Whether this very exchange was taken before, by a process that ended before it could say so."""
    known = plan.shelf.get(draft.memory.id)
    return known is not None and known.at == draft.memory.created_at and known.chain == draft.chain


def _find_last_asking(exchange: Exchange) -> int:
    """Which of its messages is the user's last; -1 where none is."""
    return max((number for number, said in enumerate(exchange.messages) if said.role == "user"), default=-1)


def _list_digests(link: bytes, end: bytes, memory: Memory, exchange: Exchange, *, is_last: bool) -> set[bytes]:
    """By what a user's message is known if it was erased.

    What is behind the last message is history, which clients resend, and must not come back. The last one is the user's
    own, who may say a thing again after it was erased, unless it stands at the same place of the same conversation.
    """
    if not is_last:
        return {link, end}
    return {end} if exchange.named or memory.message_index else set()


def _is_asked(plan: Plan, exchange: Exchange, links: list[bytes]) -> bool:
    """Whether the question is known that a loop of tools has now answered."""
    asking = _find_last_asking(exchange)
    asked = chain.extend(exchange.chain, links[: asking + 1])
    return asking >= 0 and any(item.role == "user" and item.kind == "turn" for item in plan.shelf.with_chain(asked))


def _find_flaw(memory: Memory, exchange: Exchange, tombstone: Tombstone, known_as: set[bytes]) -> str | None:
    """Why a user's message is not kept, if so. *known_as*: by what digests it would be history that was erased."""
    if not memory.text.strip():
        return "empty"
    if not known_as.isdisjoint(tombstone.digests) or _is_erased(memory, exchange, tombstone):
        return "erased"
    return None if _says_something(memory.text) else "wordless"


def _find_answer_flaw(memory: Memory, exchange: Exchange, tombstone: Tombstone, *, asked: bool) -> str | None:
    """Why an answer is not kept, if so. *asked*: what it answers is not erased."""
    if not memory.text.strip():
        return "empty"
    if not asked or _is_erased(memory, exchange, tombstone):
        return "erased"
    if exchange.echo:
        return "echo"
    said = [message.text for message in exchange.messages if message.role == "user"]
    is_courtesy = len(memory.text) < _COURTESY and said and not any(map(_says_something, said))
    return "wordless" if is_courtesy else None


def _says_something(text: str) -> bool:
    """Whether there is anything in *text* beside greetings, thanks and stop words."""
    if len(text) <= _SHORT:
        return not COURTESIES.issuperset(_WORD.findall(text.casefold().replace("’", "'"))) and bool(terms(text))
    # Looking for index words would cost more than all else here.
    return _ANY_WORD.search(text) is not None or bool(terms(text))


def supersede_by_topic(plan: Plan, draft: Draft) -> None:
    """What was stated about the same before holds no more. What is by hand gives way to nothing that is not."""
    memory = draft.memory
    for statement in draft.statements:
        if not statement.topic or statement.topic.startswith(WITHDRAWN):
            continue
        for item in plan.shelf.with_topic(statement.topic):
            outranked = item.origin == "hand" and memory.origin != "hand"
            if item.live and item.id != memory.id and item.at <= memory.created_at and not outranked:
                plan.supersede(item, memory.id, memory.created_at)
                plan.tally["superseded"] += 1


def _gather(plan: Plan, draft: Draft) -> Draft:
    """Said again: the newest stands for all of them, and tells how often it was said and where."""
    seen, sources = 1, draft.memory.sources
    for item in plan.shelf.with_gist(find_gist(draft.memory)):
        if item.live and item.id != draft.memory.id:
            seen += item.seen
            sources = (*item.sources, (item.conversation_id, item.index), *sources)
            plan.supersede(item, draft.memory.id, draft.memory.created_at)
            plan.tally["duplicate"] += 1
    memory = msgspec.structs.replace(draft.memory, seen=seen, sources=sources[-MOST_SOURCES:])
    return draft._replace(memory=memory)


def _is_erased(memory: Memory, exchange: Exchange, tombstone: Tombstone) -> bool:
    erased_at = tombstone.ids.get(memory.id)
    return erased_at is not None and (exchange.named or exchange.at <= erased_at)


def _match_block(template: str) -> re.Pattern[str] | None:
    """What a block looks like, whatever lines are in it; None for a template of too few words to be told by."""
    opening, closing = (part.split() for part in template.split(MEMORIES))
    if len(" ".join(opening)) < _SHORTEST_FRAME:
        return None
    pattern = r"\s+".join(map(re.escape, opening))
    # Without its end: a client may have cut it.
    end = r"\s+".join(map(re.escape, closing))
    return re.compile(f"{pattern}.*?(?:{end}|\\Z)" if end else f"{pattern}.*", re.DOTALL)
