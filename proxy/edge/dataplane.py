"""Everything under ``/v1/``: one raw ASGI callable, because a framework's request objects would double its cost."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Literal

from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from proxy.edge.admission import Admission, Ticket
from proxy.edge.callers import Callers
from proxy.edge.connection import CONNECTION, ClientConnection
from proxy.edge.inbox import ClientGoneError, Inbox
from proxy.edge.intercept import Interceptor
from proxy.edge.outbox import Outbox
from proxy.edge.relay import Relay
from proxy.edge.websocket import relay_websocket
from proxy.errors import ApiError, LimitError, UnauthorizedError, UpstreamTruncatedError
from proxy.observe.metrics import Metrics
from proxy.observe.served import SERVED, Served
from proxy.tasks import Tasks

# The second form is what clients for Azure make of a base URL.
CHAT: Final = re.compile(rb"/v1/(?:openai/deployments/[^/]+/)?chat/completions")

Route = Literal["chat", "websocket", "other"]
Handler = Callable[[AsgiScope, Inbox, Outbox, Ticket], Awaitable[int]]
Observer = Callable[[Served, Route, str], None]


class DataPlane:
    """Relays requests, with memory for chat completions.

    *draining* makes it answer 503 to new requests, and *on_drain* hears of it; *active* counts those being served, and
    *idle* is set at zero. *observers* hear of every request at its end, whatever that was.
    """

    def __init__(
        self,
        relay: Relay,
        interceptor: Interceptor,
        callers: Callers,
        admission: Admission,
        metrics: Metrics,
        tasks: Tasks,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.draining = False
        self.on_drain: Callable[[], None] = lambda: None
        self.active = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._relay = relay
        self._callers = callers
        self._admission = admission
        self._handlers: dict[Route, Handler] = {
            "chat": interceptor,
            "websocket": partial(relay_websocket, relay),
            "other": self._pass_through,
        }
        self._metrics = metrics
        metrics.watch("requests_in_flight", lambda: self.active)
        self._tasks = tasks
        self._observers = observers

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serves one request to its end. Raises UpstreamTruncatedError so that the server cuts the connection."""
        connection: ClientConnection | None = (scope.get("extensions") or {}).get(CONNECTION)
        route = _route(scope, connection)
        outbox = Outbox(send, connection)
        code = "gone"
        served = Served(scope["method"], scope["headers"])
        SERVED.set(served)
        self._enter()
        try:
            handler = self._handler(route)
            caller = self._callers.recognise(scope["headers"])
            with Ticket(self._admission, caller) as ticket, Inbox(receive, self._tasks, connection) as inbox:
                ticket.check()
                code = str(await handler(scope, inbox, outbox, ticket))
        except ApiError as exc:
            code = str(exc.status)
            self._count_refusal(exc)
            served.error = exc.code
            await outbox.fail(exc, served.id_header)
        except ClientGoneError:
            self._metrics.count("client_gone_total")
        except UpstreamTruncatedError:
            code = "truncated"
            raise
        finally:
            self._leave()
            self._metrics.count("requests_total", route, code)
            for observe in self._observers:
                observe(served, route, code)

    def drain(self) -> None:
        """No more requests from now on."""
        self.draining = True
        self.on_drain()

    def _handler(self, route: Route) -> Handler:
        if self.draining:
            raise ApiError(503, "draining", "The proxy is shutting down.", retry_after=1)
        return self._handlers[route]

    def _enter(self) -> None:
        self.active += 1
        self.idle.clear()

    def _leave(self) -> None:
        self.active -= 1
        if self.active == 0:
            self.idle.set()

    def _count_refusal(self, refusal: ApiError) -> None:
        if isinstance(refusal, LimitError):
            self._metrics.count("limited_total", refusal.limit)
        elif isinstance(refusal, UnauthorizedError):
            self._metrics.count("unauthorized_total", refusal.reason)

    async def _pass_through(self, scope: AsgiScope, inbox: Inbox, outbox: Outbox, ticket: Ticket) -> int:
        ticket.begin()
        body = await inbox.open()
        request = self._relay.outgoing(
            scope, body if isinstance(body, bytes) else ticket.watch_upload(body), ticket.caller
        )
        return await self._relay(request, outbox, added=[])


def _route(scope: AsgiScope, connection: ClientConnection | None) -> Route:
    if connection is not None and connection.asks_for_websocket:
        return "websocket"
    return "chat" if scope["method"] == "POST" and CHAT.fullmatch(scope["raw_path"]) else "other"
