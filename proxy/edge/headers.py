"""Which headers pass, in both directions. A deny-list of what belongs to one hop, never an allow-list."""

from collections.abc import Collection
from typing import Final

from proxy.upstream import RawHeaders

# RFC 9110, 7.6.1, with the older names that proxies still meet. ``Connection`` may name more.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# ``Host`` is the upstream's; ``Expect`` is answered by our own server.
NOT_FORWARDED: Final = HOP_BY_HOP | {b"host", b"expect"}

CONVERSATION: Final = b"x-conversation-id"
MODE: Final = b"x-memory-mode"
HOP: Final = b"x-memory-proxy-hop"
OWN_REQUEST_HEADERS: Final = frozenset({CONVERSATION, MODE})  # and those of proxy.identity

# What a change of protocol needs, and nothing else may send.
SWITCH_TO_WEBSOCKET: Final = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]

_USUAL: Final = (b"keep-alive", b"close", b"Keep-Alive", b"Close")


def first(headers: RawHeaders, name: bytes) -> bytes | None:
    """The value of the first header called *name* (lower case)."""
    for key, value in headers:
        if key == name:
            return value
    return None


def every(headers: RawHeaders, name: bytes) -> list[bytes]:
    """The values of all headers called *name* (lower case)."""
    return [value for key, value in headers if key == name]


def tokens(headers: RawHeaders, name: bytes) -> list[bytes]:
    """The comma-separated words of all headers called *name*, in lower case."""
    return [token.strip().lower() for token in b",".join(every(headers, name)).split(b",")]


def named_by_connection(headers: RawHeaders) -> frozenset[bytes]:
    """The headers that ``Connection`` makes ones of this hop."""
    if all(value in _USUAL for value in every(headers, b"connection")):
        return frozenset()
    return frozenset(tokens(headers, b"connection"))


def strip(headers: RawHeaders, dropped: Collection[bytes]) -> RawHeaders:
    """*headers* (names in lower case) without *dropped* ones and those that ``Connection`` names."""
    if named := named_by_connection(headers):
        return [header for header in headers if header[0] not in dropped and header[0] not in named]
    return [header for header in headers if header[0] not in dropped]


def for_client(headers: RawHeaders, added: RawHeaders) -> RawHeaders:
    """The response headers that go to the client: upstream's, then those of *added* that upstream did not send."""
    kept = strip(headers, HOP_BY_HOP)
    if added:
        present = {key for key, _ in kept}
        kept += [header for header in added if header[0] not in present]
    return kept
