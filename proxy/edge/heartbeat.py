"""Signs of life for event streams: comments while the upstream is silent, for what cuts silent connections."""

import asyncio
from typing import Final

from proxy.upstream import Response, Sink

COMMENT: Final = b": keep-alive\n\n"
# What a stream may end with where one event is over and the next has not begun. Not \r\r: half a line end may follow.
BOUNDARIES: Final = (b"\n\n", b"\n\r\n", b"\r\r\n")


class HeartbeatReader:
    """Reads the body of an event stream, with a comment wherever it was silent for *every_s* between two events."""

    def __init__(self, response: Response, every_s: float) -> None:
        self.is_complete = False
        self._response = response
        self._every_s = every_s
        self._tail = b"\n\n"

    async def read(self, _: Sink | None = None) -> bytes:
        """As :meth:`Response.read`, but that nothing passes by: silence is measured here."""
        while True:
            try:
                async with asyncio.timeout(self._every_s):
                    piece = await self._response.read()
            except TimeoutError:
                if self._tail.endswith(BOUNDARIES):
                    return COMMENT
            else:
                self.is_complete = self._response.is_complete
                self._tail = (self._tail + piece)[-3:]
                return piece
