"""What belongs to an erasure beside what was asked for, and what is told of it."""

import hashlib
from collections.abc import Collection, Iterable, Sequence

import msgspec

from proxy import chain
from proxy.keeper.wire import Receipt
from proxy.models import Exchange, Message, Record, Scope
from proxy.remember.shelf import Shelf


def find_related(shelf: Shelf, memory_ids: Sequence[str]) -> list[str]:
    """*memory_ids* with what they had superseded, copies above all, and what was learnt from them alone."""
    superseded: dict[str, list[str]] = {}
    for one in shelf:
        if one.superseded_by is not None:
            superseded.setdefault(one.superseded_by, []).append(one.id)
    found = dict.fromkeys(memory_ids)
    waiting = list(found)
    while waiting:
        memory_id = waiting.pop()
        item = shelf.get(memory_id)
        related = list(superseded.get(memory_id, ()))
        if item is not None and item.kind == "turn" and item.chain:
            facts = [fact for fact in shelf.with_chain(item.chain) if fact.kind == "fact" and fact.origin != "hand"]
            related += [fact.id for fact in facts if len(fact.sources) <= 1]
        new = [other for other in related if other not in found]
        found.update(dict.fromkeys(new))
        waiting += new
    return list(found)


def find_digests(scope: Scope, records: Iterable[Record]) -> set[bytes]:
    """By which messages of these *records* are known when they are sent again."""
    turns = [record for record in records if record.memory.kind == "turn"]
    said = (Message(record.memory.role, record.memory.text) for record in turns)
    # What was masked has another text than the client's, but the same place.
    return {chain.digest(scope, message) for message in said} | {record.chain for record in turns if record.chain}


def strike_out(exchange: Exchange, digests: Collection[bytes]) -> Exchange | None:
    """*exchange* without the messages that *digests* tell: itself if it has none of them, None if it has no other.

    Their places stay, so that those of the others do not move.
    """
    links = chain.split(exchange.links) or [chain.digest(exchange.scope, said) for said in exchange.messages]
    ends = [chain.extend(exchange.chain, links[: number + 1]) for number in range(len(links))]
    struck = [link in digests or end in digests for link, end in zip(links, ends, strict=True)]
    if not any(struck):
        return exchange
    if all(struck):
        return None
    messages = [
        msgspec.structs.replace(said, text="") if gone else said
        for said, gone in zip(exchange.messages, struck, strict=True)
    ]
    return msgspec.structs.replace(exchange, messages=messages, block="")


def sign(receipt: Receipt, erased: Sequence[str]) -> Receipt:
    """*receipt* with the digest of what it says and of the ids of all that was *erased*."""
    said = [receipt.user_id, receipt.memories, receipt.journal_entries, receipt.erased_at, sorted(erased)]
    if receipt.tenant:
        said.append(receipt.tenant)
    digest = hashlib.sha256(msgspec.json.encode(said)).hexdigest()
    return msgspec.structs.replace(receipt, digest=digest)
