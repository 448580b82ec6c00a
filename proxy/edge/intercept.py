"""``POST /v1/chat/completions``: recall, inject, relay, remember."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, get_args

from starlette.types import Scope as AsgiScope

from proxy.classify import TOOL_STEP, Classifier
from proxy.config import Settings
from proxy.dialects.chat_completions import ChatRequest
from proxy.edge import headers
from proxy.edge.capture import Capture, Recorder
from proxy.edge.commands import Command, Commands
from proxy.edge.conversation import Conversation, check_conversation_id
from proxy.edge.inbox import Inbox
from proxy.edge.outbox import Outbox
from proxy.edge.relay import Relay
from proxy.errors import ApiError
from proxy.identity import identify
from proxy.journal import Writer
from proxy.models import Mode, Scope, Status, now
from proxy.observe.metrics import Metrics
from proxy.recall.service import RecallService, Recollection
from proxy.upstream import RawHeaders

Ability = Literal["recall", "inject", "store"]

# What each mode allows. A request's own mode can only take away from the configured one: what is left is what both
# allow.
ABILITIES: Final[Mapping[str, frozenset[Ability]]] = {
    "full": frozenset({"recall", "inject", "store"}),
    "read": frozenset({"recall", "inject"}),
    "write": frozenset({"store"}),
    "shadow": frozenset({"recall", "store"}),
    "off": frozenset(),
}

# Bytes from which on a body is parsed in a thread; parsing takes about 1 ms a megabyte, 5 at the worst.
LARGE_BODY: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Turn:
    """One chat request as memory sees it: who speaks, what was said, and what memory may do.

    *skip*: the rule by which it is no user's turn. *came*: when it did.
    """

    abilities: frozenset[Ability]
    scope: Scope | None
    request: ChatRequest | None
    conversation_id: str | None
    came: datetime
    skip: str | None = None


class Interceptor:
    """Serves chat completions. One instance serves all requests of an edge."""

    def __init__(
        self,
        relay: Relay,
        recall: RecallService,
        recorder: Recorder,
        journal: Writer,
        commands: Commands | None,
        metrics: Metrics,
        settings: Settings,
    ) -> None:
        self._relay = relay
        self._recall = recall
        self._recorder = recorder
        self._journal = journal
        self._commands = commands
        self._classifier = Classifier(settings.classification)
        self._fail_open = recorder.fail_open
        self._metrics = metrics
        self._settings = settings
        self._identity_header = settings.identity.header.lower().encode("ascii")
        learns = settings.extraction.mode != "off"
        self._allowed = ABILITIES[settings.memory.mode] - (frozenset() if learns else {"store"})
        self._max_body = int(settings.server.max_body_mb * (1 << 20))

    async def __call__(self, scope: AsgiScope, inbox: Inbox, outbox: Outbox) -> int:
        """Serves one request; returns the status code that the client saw.

        Raises what :class:`Relay` raises, and ApiError for a bad user id, mode or conversation id.
        """
        abilities = self._abilities(headers.every(scope["headers"], headers.MODE))
        self._refuse_long(headers.first(scope["headers"], b"content-length"))
        body = await inbox.body(self._max_body)
        turn = await self._read(scope["headers"], body, abilities)
        if self._commands is not None and turn.scope is not None and turn.request is not None:
            command = self._commands.find(turn.request, body)
            if command is not None:
                return await self._obey(self._commands, turn.scope, command, outbox)
        began = time.perf_counter()
        recollection = await self._remember(turn)
        body, recollection = self._inject(turn, body, recollection)
        elapsed = time.perf_counter() - began
        self._count(turn, recollection, elapsed)
        return await self._relay(
            self._relay.outgoing(scope, body),
            outbox,
            added=_memory_headers(recollection, elapsed),
            capture=self._capture(turn, recollection),
        )

    def _abilities(self, sent: list[bytes]) -> frozenset[Ability]:
        """What is left when the configuration and each mode that was *sent* have taken away what they do not allow."""
        allowed = self._allowed
        for mode in b",".join(sent).decode("latin-1").split(",") if sent else ():
            name = mode.strip().lower()
            if name not in ABILITIES:
                raise ApiError(400, "bad_memory_mode", f"X-Memory-Mode should be one of {', '.join(get_args(Mode))}.")
            allowed &= ABILITIES[name]
        return allowed

    def _refuse_long(self, length: bytes | None) -> None:
        # Before anything is read: a client that announces too much is told so at once.
        if length is not None and length.isdigit() and int(length) > self._max_body:
            raise ApiError(413, "body_too_large", f"The request body has more than {self._max_body} bytes.")

    async def _read(self, raw: RawHeaders, body: bytes, abilities: frozenset[Ability]) -> Turn:
        came = now()
        if not abilities:
            return Turn(abilities, None, None, None, came)
        # A body of many megabytes would hold up everybody else's streams.
        request = await asyncio.to_thread(_parse, body) if len(body) > LARGE_BODY else ChatRequest.parse(body)
        fallback = request is not None and self._settings.identity.body_fallback
        sent = headers.every(raw, self._identity_header)
        scope = identify(sent, request.body_user if fallback and request is not None else None)
        skip = None
        if scope is not None and request is not None:
            with self._fail_open("classify"):
                skip = self._classifier.classify(request)
        conversation_id = check_conversation_id(headers.first(raw, headers.CONVERSATION))
        return Turn(abilities, scope, request, conversation_id, came, skip)

    async def _obey(self, commands: Commands, scope: Scope, command: Command, outbox: Outbox) -> int:
        """Answers instead of the upstream, which hears nothing of it."""
        self._metrics.count("memory_total", "skipped")
        self._metrics.count("skipped_total", "command")
        began = time.perf_counter()
        answer = await commands.answer(scope, command)
        added = _memory_headers(Recollection("skipped"), time.perf_counter() - began)
        await outbox.start(200, [*answer.headers, *added])
        await outbox.write(answer.body, more=False)
        return 200

    async def _remember(self, turn: Turn) -> Recollection:
        """What memory has to say to this turn. Never raises for a failure of memory."""
        status = _without_recall(turn)
        if status is not None or turn.request is None or turn.scope is None:
            return self._keep(turn) if status == "skipped" else Recollection(status or "skipped")
        recollection = Recollection("error")
        with self._fail_open("recall"):
            recollection = await self._recall.recall(
                turn.scope,
                turn.request.dialogue,
                budget_tokens=self._budget,
                deadline_s=self._settings.memory.deadline_ms / 1000,
                conversation_id=turn.conversation_id,
            )
        if recollection.status == "off":
            return recollection
        if "inject" not in turn.abilities:
            failed = recollection.status in ("timeout", "error")
            return Recollection(recollection.status if failed else "shadow")
        if recollection.block is None and "store" in turn.abilities and self._journal.state.failing:
            return Recollection("error")
        return recollection

    def _keep(self, turn: Turn) -> Recollection:
        """For a step within a loop of tools: nothing is looked for, but what its question was given stays there.

        Without it the model would answer knowing nothing of the user, and a prompt cache would have to begin anew.
        """
        kept = Recollection("skipped")
        if turn.scope is None or turn.request is None or turn.skip != TOOL_STEP or "inject" not in turn.abilities:
            return kept
        with self._fail_open("recall"):
            kept = self._recall.keep(turn.scope, turn.request.dialogue, turn.conversation_id, self._budget)
        return replace(kept, status="skipped")

    @property
    def _budget(self) -> int:
        return self._settings.memory.budget_tokens

    def _inject(self, turn: Turn, body: bytes, recollection: Recollection) -> tuple[bytes, Recollection]:
        """The body with the block in it, if there is one."""
        if recollection.block is None or turn.request is None:
            return body, recollection
        with self._fail_open("inject"):
            if recollection.tail is not None:
                return turn.request.inject_tail(recollection.tail), recollection
            return turn.request.inject(recollection.block.text), recollection
        return body, Recollection("error")

    def _capture(self, turn: Turn, recollection: Recollection) -> Capture | None:
        if "store" not in turn.abilities or turn.scope is None or turn.request is None or not turn.request.new:
            return None
        if turn.skip not in (None, TOOL_STEP):
            return None
        if "recall" in turn.abilities and recollection.status == "off":  # by the user's own wish
            return None
        conversation = Conversation(
            turn.scope,
            turn.request.dialogue,
            turn.request.first_new,
            turn.conversation_id,
            step=turn.skip == TOOL_STEP,
            came=turn.came,
        )
        return Capture(conversation, self._recorder, recollection.block.text if recollection.block else "")

    def _count(self, turn: Turn, recollection: Recollection, elapsed: float) -> None:
        self._metrics.count("memory_total", recollection.status)
        if turn.skip is not None:
            self._metrics.count("skipped_total", turn.skip)
        elif "recall" in turn.abilities and turn.scope is not None:
            self._metrics.observe("recall_seconds", elapsed)
        if recollection.block is not None:
            self._metrics.observe("block_tokens", recollection.block.tokens)


def _parse(body: bytes) -> ChatRequest | None:
    """Parses and reads all texts, so that nothing is left for the event loop to do."""
    request = ChatRequest.parse(body)
    if request is not None:
        _ = request.new
    return request


def _without_recall(turn: Turn) -> Status | None:
    """Why there is nothing to recall for this turn, if so."""
    if not turn.abilities:
        return "off"
    if turn.scope is None:
        return "anonymous"
    if turn.request is None or turn.skip is not None:
        return "skipped"
    return None if "recall" in turn.abilities else "off"


def _memory_headers(recollection: Recollection, elapsed: float) -> RawHeaders:
    added = [
        (b"x-memory-status", recollection.status.encode("ascii")),
        (b"x-memory-recall-ms", f"{elapsed * 1000:.3f}".encode("ascii")),
    ]
    if recollection.block is not None and recollection.status != "skipped":
        added.append((b"x-memory-count", str(len(recollection.block.memories)).encode("ascii")))
        added.append((b"x-memory-tokens", str(recollection.block.tokens).encode("ascii")))
    return added
