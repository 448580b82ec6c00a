"""WebSockets: the upstream is asked first; once it has agreed, bytes pass both ways and nobody looks at them.

No frame is taken apart, so text, binary, fragments, pings, close codes, compression and whatever else the two sides
have agreed on is between them.
"""

import asyncio
from typing import Final

from starlette.types import Scope as AsgiScope

from proxy.edge import headers
from proxy.edge.admission import Ticket
from proxy.edge.connection import CONNECTION, ClientConnection
from proxy.edge.hangup import HangupWatch
from proxy.edge.inbox import Inbox
from proxy.edge.outbox import Outbox
from proxy.edge.relay import Relay
from proxy.upstream import SWITCHING_PROTOCOLS

# How long one side may take to read what the other had said before it left.
LINGER_S: Final = 5.0


async def relay_websocket(relay: Relay, scope: AsgiScope, inbox: Inbox, outbox: Outbox, ticket: Ticket) -> int:
    """Serves one WebSocket to its end; returns the status code that the client saw.

    An upstream that does not agree is relayed like any answer. Raises what :class:`Relay` raises.
    """
    ticket.begin()
    await inbox.open()
    response = await relay.ask(relay.outgoing(scope, b"", ticket.caller, upgrade=True))
    if response.status != SWITCHING_PROTOCOLS:
        return await relay.answer(response, outbox, added=[])
    connection: ClientConnection = scope["extensions"][CONNECTION]
    tunnel = Tunnel()
    try:
        upstream = response.switch(tunnel.far)
        client, early = connection.switch(tunnel.near)
        lines = [name + b": " + value for name, value in headers.for_client(response.headers, [])]
        lines += [name + b": " + value for name, value in headers.SWITCH_TO_WEBSOCKET]
        client.write(b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *lines, b"", response.early]))
        upstream.write(early)
        await tunnel.run(client, upstream)
    finally:
        tunnel.abort()
    return SWITCHING_PROTOCOLS


class Tunnel:
    """Two connections that say to each other what they are told. *near* is the client's end, *far* the upstream's."""

    def __init__(self) -> None:
        self.near = End()
        self.far = End()
        self.near.peer, self.far.peer = self.far, self.near

    async def run(self, client: asyncio.Transport, upstream: asyncio.Transport) -> None:
        """Returns when both ends are closed: where one closes, the other follows as soon as it has read everything."""
        self.near.transport, self.far.transport = client, upstream
        upstream.resume_reading()
        ends = (self.near.closed, self.far.closed)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(ends, timeout=LINGER_S)

    def abort(self) -> None:
        """Closes both at once."""
        self.near.abort()
        self.far.abort()


class End(asyncio.Protocol):
    """One end of a tunnel."""

    peer: "End"

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # What was said before an orderly end is still to be read.
        self._watch = HangupWatch(self.abort, orderly=False)
        self._is_aborted = False

    def abort(self) -> None:
        """Closes it at once."""
        self._is_aborted = True
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        """The other end is slow."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
            self._watch.begin(self.transport)

    def resume(self) -> None:
        """It has caught up."""
        self._watch.end()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """To the other end."""
        if self.peer.transport is not None:
            self.peer.transport.write(data)

    def pause_writing(self) -> None:
        """This end is slow."""
        self.peer.pause()

    def resume_writing(self) -> None:
        """This end has caught up."""
        self.peer.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """An orderly end is one for the other side, too, and so is a crash."""
        self._watch.end()
        self.closed.set_result(None)
        if self.peer.transport is not None:
            if exc is None and not self._is_aborted:
                self.peer.transport.close()
            else:
                self.peer.transport.abort()
