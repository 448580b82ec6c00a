"""A request as it goes upstream, and its bytes on the wire."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request. *target* and *headers* are sent as they are, after a ``Host`` of our own.

    *body*: all of it, or a stream of it, whose length ``content-length`` among the headers tells, or else it is sent in
    chunks. *upgrade*: it asks for another protocol, and names it in the headers.
    """

    method: str
    target: bytes
    headers: RawHeaders
    body: bytes | AsyncIterator[bytes] = b""
    upgrade: bool = False

    @property
    def is_chunked(self) -> bool:
        """Whether the body's length is not known beforehand."""
        return not isinstance(self.body, bytes) and all(name != b"content-length" for name, _ in self.headers)

    def render_head(self, before: bytes, after: bytes) -> bytes:
        """All before the body. *before* and *after* are what the way to the upstream puts around the target."""
        parts = [self.method.encode("ascii"), b" ", before, self.target, after]
        for name, value in self.headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"transfer-encoding: chunked\r\n\r\n" if self.is_chunked else b"\r\n")
        return b"".join(parts)
