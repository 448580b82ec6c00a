"""``/memory …``, typed as a message: what a user tells memory itself is answered here, and nobody else hears of it."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from proxy.dialects.chat_completions import ChatRequest
from proxy.dialects.completion import Answer, Asked, read_asked, write_answer
from proxy.edge import phrases
from proxy.edge.holdings import Holdings, is_off, load_holdings
from proxy.edge.parameters import MAX_TEXT
from proxy.errors import MemoryProxyError
from proxy.journal import Writer
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.models import Memory, Message, Scope
from proxy.recall.service import RecallService

log = structlog.get_logger(__name__)

_PREFIX: Final = re.compile(r"\s*/memory(?!\S)", re.IGNORECASE)
# At once. Words that more memories have may have been meant otherwise.
MOST_FORGOTTEN: Final = 50
# Of what comes close to words that nothing has.
_CLOSEST: Final = 3
_EVERYTHING: Final = "everything"
_WORD: Final = re.compile(r"\w+")
# Erasing a user rewrites files; whoever waits for it looks at an empty chat window.
PATIENCE_S: Final = 30.0
# What waits behind a store that fails may wait for hours.
_STORING_S: Final = 2.0
# The embedder may be a service of somebody else's.
_SEARCH_S: Final = 2.0
_SEARCH_TOKENS: Final = 1000


@dataclass(frozen=True, slots=True)
class Command:
    """*verb*: the first word behind ``/memory``, in lower case, or "". *rest*: what follows it, as it was typed."""

    verb: str
    rest: str
    asked: Asked


class Commands:
    """Answers commands. One instance serves all requests of an edge."""

    def __init__(self, keeper: KeeperClient, recall: RecallService, journal: Writer) -> None:
        self._keeper = keeper
        self._recall = recall
        self._journal = journal
        self._verbs: dict[str, Callable[[Scope, str], Awaitable[str]]] = {
            "": self._describe,
            "search": self._search,
            "forget": self._forget,
            "remember": self._remember,
            "off": self._switch_off,
            "on": self._switch_on,
            "help": self._help,
        }

    def find(self, request: ChatRequest, body: bytes) -> Command | None:
        """The command that *request* ends with, if it does; *body* is what it was read from.

        A message with a file or a picture beside its text is none.
        """
        if not request.dialogue or not _PREFIX.match(request.dialogue[-1].text):
            return None
        asked = read_asked(body)
        typed = _PREFIX.match(asked.typed) if asked is not None and asked.typed else None
        if asked is None or asked.typed is None or typed is None:
            return None
        verb, rest = _split(asked.typed[typed.end() :])
        return Command(verb.lower(), rest, asked)

    async def answer(self, scope: Scope, command: Command) -> Answer:
        """Does what *scope* commands and tells of it. Never raises for a failure of memory, but tells of that, too."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                text = await self._obey(scope, command)
        except (MemoryProxyError, TimeoutError) as exc:
            log.warning("command_failed", verb=command.verb, kind=type(exc).__name__)
            text = phrases.AWAY
        return write_answer(text, command.asked, number=secrets.token_hex(12), created=int(time.time()))

    async def _obey(self, scope: Scope, command: Command) -> str:
        verb = self._verbs.get(command.verb)
        return phrases.explain(command.verb) if verb is None else await verb(scope, command.rest)

    async def _help(self, _scope: Scope, _rest: str) -> str:
        return phrases.HELP

    async def _describe(self, scope: Scope, _rest: str) -> str:
        return phrases.describe(await load_holdings(self._keeper, scope))

    async def _search(self, scope: Scope, words: str) -> str:
        found = (await load_holdings(self._keeper, scope)).having(words)
        if found is None:
            return phrases.WHAT_TO_SEARCH
        if not found:
            return phrases.tell_nothing_found(words, await self._find_closest(scope, words))
        return phrases.tell_found(words, found)

    async def _find_closest(self, scope: Scope, words: str) -> list[Memory]:
        """What a chat would recall of it, the best first."""
        recollection = await self._recall.recall(
            scope, [Message("user", words)], budget_tokens=_SEARCH_TOKENS, deadline_s=_SEARCH_S, sticky=False
        )
        if recollection.block is None:
            return []
        scored = zip(recollection.block.scores, recollection.block.memories, strict=True)
        best = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: -pair[0])
        return [memory for _, memory in best[:_CLOSEST]]

    async def _forget(self, scope: Scope, rest: str) -> str:
        words = _WORD.findall(rest.lower())
        if words == [_EVERYTHING, "yes"]:
            return await self._forget_everything(scope)
        if words != [_EVERYTHING]:
            await self._await_storing()
        holdings = await load_holdings(self._keeper, scope)
        if words == [_EVERYTHING]:
            return phrases.ask_to_confirm(holdings)
        found = _choose(holdings, words, rest)
        if found is None:
            return phrases.WHAT_TO_FORGET
        if not found:
            return phrases.tell_nothing_found(rest, await self._find_closest(scope, rest))
        erased = found[:MOST_FORGOTTEN]
        receipt: wire.Receipt = await self._keeper.call(wire.Erase(scope, [memory.id for memory in erased]))
        return phrases.tell_forgotten(erased, receipt, left=len(found) - len(erased))

    async def _await_storing(self) -> None:
        """What was said a moment ago can be forgotten as soon as it is stored, which takes no time as a rule."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STORING_S):
                await self._keeper.call(wire.Flush(extract=False))

    async def _forget_everything(self, scope: Scope) -> str:
        await self._journal.discard(scope)
        receipt: wire.Receipt = await self._keeper.call(wire.Erase(scope, None))
        return phrases.tell_all_forgotten(receipt)

    async def _remember(self, scope: Scope, text: str) -> str:
        if not text:
            return phrases.WHAT_TO_REMEMBER
        if len(text) > MAX_TEXT:
            return phrases.TOO_LONG
        if await is_off(self._keeper, scope):
            return phrases.IS_OFF
        memory: Memory = await self._keeper.call(wire.Add(scope, text))
        return phrases.tell_remembered(memory)

    async def _switch_off(self, scope: Scope, _rest: str) -> str:
        await self._keeper.call(wire.Switch(scope, off=True))
        return phrases.OFF

    async def _switch_on(self, scope: Scope, _rest: str) -> str:
        await self._keeper.call(wire.Switch(scope, off=False))
        return phrases.ON


def _split(text: str) -> tuple[str, str]:
    """The first word, and the rest without the white space around it."""
    first, *rest = text.split(maxsplit=1) or [""]
    return first, "".join(rest).rstrip()


def _choose(holdings: Holdings, words: list[str], rest: str) -> list[Memory] | None:
    """What is to be forgotten: the memory called so, else those with all of the words; None where these say nothing."""
    named = holdings.named(words[0]) if len(words) == 1 else None
    if named is not None:
        return [named]
    # "Everything about my bicycle" is not about the word.
    return holdings.having(
        rest if _EVERYTHING not in words else " ".join(word for word in words if word != _EVERYTHING)
    )
