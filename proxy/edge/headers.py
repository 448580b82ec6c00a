"""Which headers pass, in both directions. A deny-list of what belongs to one hop, never an allow-list."""

from collections.abc import Collection
from typing import Final

RawHeaders = list[tuple[bytes, bytes]]

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
SIGNATURE: Final = b"x-user-signature"
OWN_REQUEST_HEADERS: Final = frozenset({CONVERSATION, MODE, SIGNATURE})


def first(headers: RawHeaders, name: bytes) -> bytes | None:
    """The value of the first header called *name* (lower case)."""
    return next((value for key, value in headers if key == name), None)


def every(headers: RawHeaders, name: bytes) -> list[bytes]:
    """The values of all headers called *name* (lower case)."""
    return [value for key, value in headers if key == name]


def _named_by_connection(headers: RawHeaders) -> frozenset[bytes]:
    named = [value for key, value in headers if key == b"connection"]
    if not named:
        return frozenset()
    return frozenset(token.strip().lower() for token in b",".join(named).split(b","))


def for_upstream(headers: RawHeaders, *, own: Collection[bytes], api_key: str | None) -> RawHeaders:
    """The request headers that go upstream; *own* are the lower-case names that only the proxy reads.

    *api_key* replaces the client's ``Authorization``.
    """
    dropped = NOT_FORWARDED | _named_by_connection(headers)
    kept = [(k, v) for k, v in headers if k not in dropped and k not in own]
    if api_key is not None:
        kept = [(k, v) for k, v in kept if k != b"authorization"]
        kept.append((b"authorization", b"Bearer " + api_key.encode()))
    return kept


def for_client(headers: RawHeaders, added: RawHeaders) -> RawHeaders:
    """The response headers that go to the client: upstream's, then those of *added* that upstream did not send."""
    dropped = HOP_BY_HOP | _named_by_connection([(k.lower(), v) for k, v in headers])
    kept = [(k, v) for k, v in headers if k.lower() not in dropped]
    present = {k.lower() for k, _ in kept}
    return kept + [(k, v) for k, v in added if k.lower() not in present]
