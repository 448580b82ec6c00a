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
from proxy.edge.admission import Ticket
from proxy.edge.capture import Capture, Recorder
from proxy.edge.commands import Command, Commands
from proxy.edge.conversation import Conversation, check_conversation_id
from proxy.edge.inbox import Inbox
from proxy.edge.measures import Measures, Watch
from proxy.edge.outbox import Outbox
from proxy.edge.relay import Relay
from proxy.edge.spans import ChatSpans
from proxy.errors import ApiError
from proxy.experiment.arms import Place
from proxy.identity import Identifier
from proxy.journal import Writer
from proxy.models import Details, Mode, Scope, Status, now
from proxy.observe.metrics import Metrics
from proxy.observe.served import SERVED, Served
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

    *skip*: the rule by which it is no user's turn. *came*: when it did. *is_unknown*: nobody can say who speaks, which
    is another thing than that nobody has said so. *place*: the user's in the experiment, where memory may do all that
    is to be measured.
    """

    abilities: frozenset[Ability]
    scope: Scope | None
    request: ChatRequest | None
    conversation_id: str | None
    came: datetime
    skip: str | None = None
    is_unknown: bool = False
    place: Place | None = None

    @property
    def is_served(self) -> bool:
        """Whether the model is to hear of what is recalled."""
        return "inject" in self.abilities and not (self.place is not None and self.place.held_out)


class Interceptor:
    """Serves chat completions. One instance serves all requests of an edge."""

    def __init__(
        self,
        relay: Relay,
        recall: RecallService,
        recorder: Recorder,
        journal: Writer,
        commands: Commands | None,
        identifier: Identifier,
        measures: Measures,
        metrics: Metrics,
        settings: Settings,
        spans: ChatSpans | None = None,
    ) -> None:
        self._spans = spans
        self._relay = relay
        self._recall = recall
        self._recorder = recorder
        self._journal = journal
        self._commands = commands
        self._measures = measures
        self._classifier = Classifier(settings.classification)
        self._fail_open = recorder.fail_open
        self._metrics = metrics
        self._settings = settings
        self._identifier = identifier
        learns = settings.extraction.mode != "off"
        self._allowed = ABILITIES[settings.memory.mode] - (frozenset() if learns else {"store"})
        # A request that asks for less than it might have is no part of the experiment, in neither arm.
        self._tested = ABILITIES[settings.memory.mode] & {"recall", "inject"}
        self._max_body = int(settings.server.max_body_mb * (1 << 20))
        self._is_noted = settings.logs.requests or settings.traces.keep > 0 or spans is not None
        self._has_content = settings.traces.content

    async def __call__(self, scope: AsgiScope, inbox: Inbox, outbox: Outbox, ticket: Ticket) -> int:
        """Serves one request; returns the status code that the client saw.

        Raises what :class:`Relay` and :class:`Ticket` raise, and ApiError for a bad user id, mode or conversation id,
        and for a user who is not who they say.
        """
        abilities = self._abilities(headers.every(scope["headers"], headers.MODE))
        self._refuse_long(headers.first(scope["headers"], b"content-length"))
        # Before the body is read: a stranger's is not worth it.
        speaker = await self._identify(scope["headers"], None, ticket, abilities)
        body = await inbox.body(self._max_body)
        ticket.begin()
        arrived = time.perf_counter()
        turn = await self._read(scope["headers"], body, abilities, speaker, ticket)
        served = SERVED.get() if self._is_noted else None
        if self._spans is not None and served is not None:
            scope = self._spans.begin(served, scope, body, turn.conversation_id)
        if self._commands is not None and turn.scope is not None and turn.request is not None:
            command = self._commands.find(turn.request, body)
            if command is not None:
                if served is not None:
                    served.memory = "skipped"
                return await self._obey(self._commands, turn.scope, command, outbox)
        began = time.perf_counter()
        recollection = await self._remember(turn)
        body, recollection = self._inject(turn, body, recollection)
        elapsed = time.perf_counter() - began
        self._count(turn, recollection, elapsed)
        if served is not None:
            self._note(served, turn, recollection, elapsed)
        return await self._relay(
            self._relay.outgoing(scope, body, ticket.caller),
            outbox,
            added=_memory_headers(recollection, elapsed),
            watch=self._watch(turn, recollection, served, ready=arrived + elapsed),
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

    async def _identify(
        self, raw: RawHeaders, body_user: str | None, ticket: Ticket, abilities: frozenset[Ability]
    ) -> Scope | Literal["unknown"] | None:
        """Whose request it is; "unknown" where that cannot be found out, and nobody's where it does not matter."""
        if not abilities and not ticket.limits_users:
            return None
        refusal: ApiError | None = None
        with self._fail_open("identity"):
            try:
                return await self._identifier.identify(raw, body_user, ticket.caller.tenant)
            except ApiError as exc:
                refusal = exc
        if refusal is not None:
            raise refusal
        return "unknown"

    async def _read(
        self,
        raw: RawHeaders,
        body: bytes,
        abilities: frozenset[Ability],
        speaker: Scope | Literal["unknown"] | None,
        ticket: Ticket,
    ) -> Turn:
        came = now()
        request = None
        if abilities:
            # A body of many megabytes would hold up everybody else's streams.
            request = await asyncio.to_thread(_parse, body) if len(body) > LARGE_BODY else ChatRequest.parse(body)
        if speaker is None and request is not None and request.body_user:
            speaker = await self._identify(raw, request.body_user, ticket, abilities)
        if speaker == "unknown":
            return Turn(abilities, None, request, None, came, is_unknown=True)
        if speaker is not None:
            ticket.begin_for(speaker)
        if not abilities:
            return Turn(abilities, None, None, None, came)
        skip = None
        if speaker is not None and request is not None:
            with self._fail_open("classify"):
                skip = self._classifier.classify(request)
        conversation_id = check_conversation_id(headers.first(raw, headers.CONVERSATION))
        place = self._place(abilities, speaker, skip)
        return Turn(abilities, speaker, request, conversation_id, came, skip, place=place)

    def _place(self, abilities: frozenset[Ability], scope: Scope | None, skip: str | None) -> Place | None:
        """Where the experiment has *scope*, if the request is one of it or goes with one."""
        if scope is None or skip not in (None, TOOL_STEP) or "recall" not in abilities or not self._tested <= abilities:
            return None
        return self._measures.place(scope)

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
        if not turn.is_served:
            failed = recollection.status in ("timeout", "error")
            withheld = 0 if recollection.block is None else recollection.block.tokens
            return Recollection(recollection.status if failed else "shadow", withheld=withheld)
        if recollection.block is None and "store" in turn.abilities and self._journal.state.failing:
            return Recollection("error")
        return recollection

    def _keep(self, turn: Turn) -> Recollection:
        """For a step within a loop of tools: nothing is looked for, but what its question was given stays there.

        Without it the model would answer knowing nothing of the user, and a prompt cache would have to begin anew.
        """
        kept = Recollection("skipped")
        if turn.scope is None or turn.request is None or turn.skip != TOOL_STEP or not turn.is_served:
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

    def _note(self, served: Served, turn: Turn, recollection: Recollection, elapsed: float) -> None:
        """For whoever tells of the request."""
        served.memory, served.recall_s = recollection.status, elapsed
        block = recollection.block if recollection.status != "skipped" else None
        served.scope, served.conversation_id = turn.scope, turn.conversation_id
        if _without_recall(turn) is None:
            served.recalled_at = time.perf_counter() - elapsed
        if block is not None:
            served.count, served.tokens = len(block.memories), block.tokens
            served.recalled = [(one.id, score) for one, score in zip(block.memories, block.scores, strict=True)]
        if turn.request is not None:
            served.model, served.is_streamed = turn.request.model, turn.request.is_streamed
            if self._has_content:
                self._quote(served, turn.request, recollection)

    def _quote(self, served: Served, request: ChatRequest, recollection: Recollection) -> None:
        """The words, for where they may be told."""
        block = recollection.block
        served.dialogue, served.instructions = request.dialogue, request.instructions
        served.question = request.dialogue[-1].text if request.new else ""
        served.details = served.details or Details()
        if block is not None:
            tail = recollection.tail
            served.block = block.text if tail is None else "\n\n".join(tail[at] for at in sorted(tail))
        if block is not None and recollection.status != "skipped":
            served.memories = list(zip(block.memories, block.scores, strict=True))

    def _watch(self, turn: Turn, recollection: Recollection, served: Served | None, *, ready: float) -> Watch:
        """Whoever follows the request from here on. Notes it, if it is a turn of the experiment's."""
        place = turn.place if turn.skip is None and recollection.status != "off" else None
        if place is not None and turn.request is not None:
            self._measures.note_turn(place, turn.request, recollection)
        watch = self._measures.watch(self._capture(turn, recollection, served), recollection, place, ready=ready)
        if served is not None:
            served.watch = watch
        return watch

    def _capture(self, turn: Turn, recollection: Recollection, served: Served | None) -> Capture | None:
        details = None if served is None else served.details
        conversation = self._find_conversation(turn, recollection, "" if served is None else served.traceparent)
        if conversation is None and details is None:
            return None
        return Capture(conversation, self._recorder, recollection.block.text if recollection.block else "", details)

    def _find_conversation(self, turn: Turn, recollection: Recollection, traceparent: str) -> Conversation | None:
        """What is to be journaled, if anything."""
        if "store" not in turn.abilities or turn.scope is None or turn.request is None or not turn.request.new:
            return None
        if turn.skip not in (None, TOOL_STEP):
            return None
        if "recall" in turn.abilities and recollection.status == "off":  # by the user's own wish
            return None
        return Conversation(
            turn.scope,
            turn.request.dialogue,
            turn.request.first_new,
            turn.conversation_id,
            step=turn.skip == TOOL_STEP,
            came=turn.came,
            traceparent=traceparent,
        )

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
    if turn.is_unknown:
        return "error"
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
