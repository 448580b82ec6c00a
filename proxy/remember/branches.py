"""Where in its conversation an exchange belongs, and what it takes the place of.

A conversation is a tree: who edits a message or has an answer made again goes on from an earlier point, and what had
followed there is abandoned. Chained hashes (:mod:`proxy.chain`) tell that point. What is abandoned is superseded, not
deleted: who goes back to it, goes on from it again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from proxy import chain
from proxy.models import Exchange
from proxy.remember.plan import Draft, Plan
from proxy.remember.shelf import Item, Shelf, find_words

# Where the client names no conversation, another message at the same place may also be another conversation that began
# the same way. It is an edit soon after …
_SOON: Final = timedelta(hours=1)
# … or behind so many messages: the same two questions with the same two answers are no coincidence.
_LONG: Final = 4
# Of the words of the shorter one: "I live in Berlin", "I live in Munich".
_ALIKE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """The position of an exchange's first message, the chain of what precedes it, and the id of the conversation."""

    index: int
    chain: bytes
    conversation_id: str


def find_place(shelf: Shelf, exchange: Exchange) -> Place:
    """Where *exchange* goes on from.

    A client that names its conversation and sends the last messages only is followed through its window: what it begins
    with is looked for among what is known. Of several replicas one may bring an exchange late, behind what followed it.
    """
    plain = Place(exchange.first_index, exchange.chain, exchange.conversation_id)
    last = shelf.last_index(exchange.conversation_id)
    if last >= 0 and exchange.first_index and not _is_known(shelf, exchange):
        joint = _find_joint(shelf, exchange)
        if joint is not None:
            return replace(plain, chain=joint)
    if not exchange.named or last < 0:
        return plain
    first = chain.extend(exchange.chain, chain.split(exchange.links)[:1])
    sent_before = [item for item in shelf.with_chain(first) if item.kind == "turn"]
    if sent_before:
        return replace(plain, index=sent_before[0].index)
    if _is_late(shelf, exchange):
        return plain
    if exchange.first_index > last or _is_known(shelf, exchange):
        return plain if exchange.first_index or _restarts(shelf, exchange) else _go_on(exchange, last)
    return _find_end(shelf, exchange) or (plain if _restarts(shelf, exchange) else _go_on(exchange, last))


def _is_known(shelf: Shelf, exchange: Exchange) -> bool:
    """Whether what precedes *exchange* is stored, or something that follows the same."""
    return bool(shelf.with_chain(exchange.chain) or shelf.with_parent(exchange.chain))


def _find_joint(shelf: Shelf, exchange: Exchange) -> bytes | None:
    """The chain that an import has made of what precedes *exchange*, if not all of that is stored: it knows nothing of
    greetings and thanks, so that for it the message behind them follows what stands before them.
    """
    prior = chain.split(exchange.prior)
    for item in shelf.with_conversation(exchange.conversation_id):
        if item.index != exchange.first_index or item.role != "user":
            continue
        before = [turn for turn in shelf.with_chain(item.parent) if turn.kind == "turn"]
        if before:
            back = item.index - before[0].index
            if 1 < back <= len(prior) and _follows(before[0], prior[-back]):
                return item.parent
        elif _begins(exchange, item):
            return item.parent
    return None


def _begins(exchange: Exchange, item: Item) -> bool:
    """Whether for an import the conversation begins with *item*. Where a client names it, and may send its last
    messages only, *exchange* has to begin with the same words.
    """
    starts = {chain.start(exchange.scope, exchange.conversation_id), chain.start(exchange.scope, None)}
    return item.parent in starts and (not exchange.named or _follows(item, chain.split(exchange.links)[0]))


def _follows(item: Item, link: bytes) -> bool:
    """Whether *link* is the digest of *item*."""
    return chain.extend(item.parent, [link]) == item.chain


def _is_late(shelf: Shelf, exchange: Exchange) -> bool:
    """Whether it belongs before what is known: right before, or in a gap, with nothing where it says that it stood."""
    end = chain.extend(exchange.chain, chain.split(exchange.links))
    places = range(exchange.first_index, exchange.first_index + len(exchange.messages))
    turns = shelf.with_conversation(exchange.conversation_id)
    if any(item.parent == end for item in turns):
        return True
    if any(item.index in places for item in turns):
        return False
    return any(item.index >= places.stop and item.at > exchange.at and not _is_joined(shelf, item) for item in turns)


def _is_joined(shelf: Shelf, item: Item) -> bool:
    """Whether what precedes *item* is known, or it is the beginning of what a client has sent without any history."""
    return not item.parent or item.role != "user" or bool(shelf.with_chain(item.parent))


def _go_on(exchange: Exchange, last: int) -> Place:
    """Behind all that is known: an edit of nothing, for what the exchange goes on from is not known."""
    return Place(max(exchange.first_index, last + 1), b"", exchange.conversation_id)


def abandon_siblings(plan: Plan, place: Place, exchange: Exchange, by: str) -> None:
    """What followed the place until now, but for what *exchange* itself says, is superseded by the memory *by*."""
    first = chain.extend(place.chain, chain.split(exchange.links)[:1])
    _return_to(plan, first if plan.shelf.with_chain(first) else place.chain, exchange.at)
    if not place.index and not exchange.named:
        return  # every conversation without a name begins there
    for item in plan.shelf.with_parent(place.chain):
        if item.chain != first and item.live and item.role == "user" and _is_edit(plan.shelf, place, item, exchange):
            _abandon(plan, item, by, exchange.at)


def replace_siblings(plan: Plan, draft: Draft) -> None:
    """What followed the same message of the same conversation until now is superseded by *draft*, if it is no newer.

    Not at its beginning: an import may bring several conversations under one name.
    """
    memory = draft.memory
    if not plan.shelf.with_chain(draft.parent):
        return
    for item in plan.shelf.with_parent(draft.parent):
        same = item.kind == "turn" and (item.conversation_id, item.role) == (memory.conversation_id, memory.role)
        if same and item.live and item.chain != draft.chain and item.at <= memory.created_at:
            _abandon(plan, item, memory.id, memory.created_at)


def replace_answers(plan: Plan, asked: bytes, answer: bytes, exchange: Exchange, by: str) -> None:
    """Other answers to the question that *asked* ends with are superseded, and what followed them, too.

    Where a conversation has no name, its first question may have been asked in another one: then only an answer that
    nothing followed was made again.
    """
    others = [item for item in plan.shelf.with_parent(asked) if item.chain != answer and item.live]
    for item in others:
        if item.kind != "turn" or item.role != "assistant":
            continue
        followed = any(next_.live for next_ in plan.shelf.with_parent(item.chain))
        opening = not exchange.named and exchange.first_index == 0
        if not opening or (not followed and exchange.at - item.at < _SOON):
            _abandon(plan, item, by, exchange.at)


def find_earlier_attempts(shelf: Shelf, asked: bytes, exchange: Exchange) -> list[Item]:
    """The same first question of a conversation without a name, where this exchange is what came of it after all.

    The conversation's id is made of its first question and answer, so that another answer makes another id.
    """
    if exchange.named or exchange.first_index:
        return []
    found = []
    for item in shelf.with_chain(asked):
        if item.kind == "turn" and item.live and item.conversation_id != exchange.conversation_id:
            answers = [answer for answer in shelf.with_parent(item.chain) if answer.role == "assistant"]
            if not any(answer.live for answer in answers) and exchange.at - item.at < _SOON:
                found.append(item)
    return found


def _find_end(shelf: Shelf, exchange: Exchange) -> Place | None:
    """Behind the last message of the window that is known; of a message that stands twice, the last one counts."""
    prior = chain.split(exchange.prior)
    turns = shelf.with_conversation(exchange.conversation_id)
    for known in range(len(prior), 0, -1):
        ends = [item for item in turns if _follows(item, prior[known - 1])]
        if ends:
            end = max(ends, key=lambda item: item.index)
            unknown = prior[known:]
            return Place(end.index + 1 + len(unknown), chain.extend(end.chain, unknown), exchange.conversation_id)
    return None


def _restarts(shelf: Shelf, exchange: Exchange) -> bool:
    """Whether a request without history begins its conversation anew, and does not only leave the history out.

    It does where earlier ones brought theirs along, and where it says nearly what the first one said.
    """
    words = find_words(exchange.messages[0])
    for item in shelf.with_conversation(exchange.conversation_id):
        if item.index > 1 and item.role == "user" and shelf.with_chain(item.parent):
            return True
        if item.index == 0 and len(words & item.words) >= _ALIKE * min(len(words), len(item.words)) > 0:
            return True
    return False


def _is_edit(shelf: Shelf, place: Place, item: Item, exchange: Exchange) -> bool:
    if item.kind != "turn":
        return False
    if exchange.named:
        return item.conversation_id == exchange.conversation_id
    if place.index < _LONG and abs(exchange.at - item.at) >= _SOON:
        return False
    # Not where only greetings precede, with which any conversation may begin.
    return any(known.index < place.index for known in shelf.with_conversation(exchange.conversation_id))


def _return_to(plan: Plan, end: bytes, at: datetime) -> None:
    """Who goes on from an abandoned branch has come back to it."""
    path = list(_walk_up(plan.shelf, end))
    abandoned = [item for item in path if not item.live]
    if not abandoned:
        return
    top = abandoned[-1]
    rival = plan.shelf.get(top.superseded_by or "")
    if rival is None or rival.parent != top.parent or rival.conversation_id != top.conversation_id:
        return  # superseded for what it says, not for where it stands: all nameless conversations begin at one place
    by = top.superseded_by
    for item in abandoned:
        if item.superseded_by == by:
            plan.revive(item)
            for fact in _facts_of(plan.shelf, item):
                if fact.superseded_by == by:
                    plan.revive(fact)
    for item in plan.shelf.with_parent(top.parent):
        rivals = item.conversation_id == top.conversation_id and item.role == top.role and item.chain != top.chain
        if rivals and item.live:
            _abandon(plan, item, top.id, at)


def _walk_up(shelf: Shelf, end: bytes) -> Iterator[Item]:
    """The messages that precede, the last first."""
    seen: set[bytes] = set()
    while end not in seen:
        seen.add(end)
        turns = [item for item in shelf.with_chain(end) if item.kind == "turn"]
        if not turns:
            return
        yield turns[-1]
        end = turns[-1].parent


def _abandon(plan: Plan, item: Item, by: str, at: datetime) -> None:
    """*item*, what followed it and what was learnt from all that."""
    waiting = [item]
    seen: set[str] = set()
    while waiting:
        current = waiting.pop()
        if current.id in seen:
            continue
        seen.add(current.id)
        if current.live and current.id != by:
            plan.supersede(current, by, at)
            plan.tally["retracted"] += 1
        for fact in _facts_of(plan.shelf, current):
            if fact.live:
                plan.supersede(fact, by, at)
                plan.tally["retracted"] += 1
        waiting += [next_ for next_ in plan.shelf.with_parent(current.chain) if next_.kind == "turn"]


def _facts_of(shelf: Shelf, item: Item) -> list[Item]:
    """What was learnt from this message alone, and was not corrected by hand."""
    return [
        fact
        for fact in shelf.with_chain(item.chain)
        if fact.kind == "fact" and fact.origin != "hand" and len(fact.sources) <= 1
    ]
