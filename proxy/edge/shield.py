"""What browsers are told of every answer of the control plane: that nothing else may use it, or which pages may."""

from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from proxy.errors import ApiError

Headers = list[tuple[bytes, bytes]]

ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
# But for answers that say themselves how they may be kept, which are those that hold nobody's data.
UNKEPT: Final = (b"cache-control", b"no-store")
# The inspector's own files and nothing else: what somebody has said to a chatbot is shown there.
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGES: Final = (
    (b"content-security-policy", POLICY),
    (
        b"permissions-policy",
        b"camera=(), microphone=(), geolocation=(), payment=(), usb=(), clipboard-read=(), display-capture=()",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
)
UI: Final = b"/ui"
# Ids of 256 characters of four bytes each take 3,072 in a path. No request needs more than a few of them.
LONGEST_TARGET: Final = 1 << 14

METHODS: Final = b"GET, HEAD, POST, PATCH, DELETE"
REQUEST_HEADERS: Final = b"authorization, content-type"
# How long a browser may remember what a preflight has said.
MAX_AGE_S: Final = b"600"


class Shield:
    """Around the control plane. *origins*: of the pages that may speak to it; browsers keep all others away.

    That a page may ask does not let it in: the gatekeeper looks at each request afterwards.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added = self._headers(scope)

        async def send_shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *added]
                if not any(name == UNKEPT[0] for name, _ in headers):
                    headers.append(UNKEPT)
                message = {**message, "headers": headers}
            await send(message)

        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_TARGET:
            await _fail(send_shielded, ApiError(414, "uri_too_long", "The path and the query are too long."))
        elif self._is_preflight(scope):
            await self._answer_preflight(scope, send_shielded)
        else:
            await self._app(scope, receive, send_shielded)

    def _headers(self, scope: AsgiScope) -> Headers:
        headers = list(ALWAYS)
        if scope["raw_path"] == UI or scope["raw_path"].startswith(UI + b"/"):
            headers += PAGES
        if self._origins:
            headers.append((b"vary", b"Origin"))
            if (origin := self._allowed_origin(scope)) is not None:
                headers.append((b"access-control-allow-origin", origin))
                headers.append((b"access-control-expose-headers", b"Retry-After"))
        return headers

    def _allowed_origin(self, scope: AsgiScope) -> bytes | None:
        origins = _find(scope, b"origin")
        return origins[0] if len(origins) == 1 and origins[0] in self._origins else None

    def _is_preflight(self, scope: AsgiScope) -> bool:
        asked = _find(scope, b"access-control-request-method")
        return bool(self._origins) and scope["method"] == "OPTIONS" and bool(asked) and bool(_find(scope, b"origin"))

    async def _answer_preflight(self, scope: AsgiScope, send: Send) -> None:
        """Browsers ask without the token. What they are told is the same for every path."""
        if self._allowed_origin(scope) is None:
            await _fail(send, ApiError(403, "foreign_origin", "Requests from other sites' pages are refused."))
            return
        headers = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", MAX_AGE_S),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def _fail(send: Send, error: ApiError) -> None:
    await send({"type": "http.response.start", "status": error.status, "headers": error.headers})
    await send({"type": "http.response.body", "body": error.body()})


def _find(scope: AsgiScope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]
