"""Who may use the control plane."""

import hmac
import ipaddress
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from proxy.config import Settings
from proxy.edge.attempts import FailedAttempts
from proxy.errors import ApiError

# What reverse proxies add. Without these one on the same machine would make everybody look like a client of it.
FORWARDING: Final = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "cf-connecting-ip",
    "true-client-ip",
)
# What must be clear: of two, another server on the way may have looked at the other one.
SINGLE: Final = ("authorization", "host", "origin")


class Gatekeeper:
    """With a token: whoever sends it. Without one: clients of this machine only.

    A web page that somebody on this machine looks at is not a client: without a token, the ``Host`` must be a name of
    this machine (a page may point its own name at 127.0.0.1), and with or without one a foreign ``Origin`` is refused,
    except those of *admin.cors_origins*.

    With *admin.read_token* one may look and change nothing, and with *admin.read_only* nobody may change anything.
    """

    def __init__(self, settings: Settings) -> None:
        token, read_token = settings.admin.token, settings.admin.read_token
        self._token = None if token is None else _digest(token.get_secret_value())
        self._read_token = None if read_token is None else _digest(read_token.get_secret_value())
        self._read_only = settings.admin.read_only
        self._own_host = settings.server.host
        self._origins = frozenset(settings.admin.cors_origins)
        self._failures = FailedAttempts()

    def check(self, request: Request, *, changes: bool = False) -> None:
        """Returns if the request may pass, which *changes* something or only looks.

        Raises:
            ApiError: 400, 401, 403 or 429.
        """
        if self.admit(request) and changes:
            raise ApiError(403, "read_only", "Here one may look, and change nothing.")

    def admit(self, request: Request) -> bool:
        """Whether it comes from somebody who may only look. Raises as :meth:`check`."""
        self.check_page(request)
        if self._token is not None:
            return not self._check_token(request, self._token) or self._read_only
        return self._read_only

    def check_page(self, request: Request) -> None:
        """Returns for who may be shown what anybody may see who is where our operators are: with a token all, without
        one clients of this machine. Raises as :meth:`check`.
        """
        for name in SINGLE:
            if len(request.headers.getlist(name)) > 1:
                raise ApiError(400, "bad_request", f"The header {name} was sent twice.")
        if self._is_of_foreign_page(request):
            raise ApiError(403, "foreign_origin", "Requests from other sites' pages are refused.")
        if self._token is not None:
            return
        if any(header in request.headers for header in FORWARDING):
            raise ApiError(403, "local_only", "Requests that came through another proxy need admin.token.")
        if not _is_local(_address(request)) or not self._names_us(request):
            raise ApiError(403, "local_only", "Without admin.token only clients on this machine are answered.")

    def _is_of_foreign_page(self, request: Request) -> bool:
        origin = request.headers.get("origin")
        if origin is not None:
            own = origin.partition("://")[2] == request.headers.get("host")
            return not own and origin not in self._origins
        # Browsers send no Origin along when a page loads an image or a script. A link that somebody follows is fine.
        site, mode = (request.headers.get(f"sec-fetch-{name}") for name in ("site", "mode"))
        return site in ("cross-site", "same-site") and mode != "navigate"

    def _check_token(self, request: Request, token: bytes) -> bool:
        """Whether it is the *token* with which one may do everything."""
        address = _address(request)
        if wait_s := self._failures.wait_s(address):
            message = "Too many wrong tokens from this address."
            raise ApiError(429, "too_many_failures", message, retry_after=wait_s)
        sent = request.headers.get("authorization")
        matches = [_is_bearer(sent or "", known) for known in (token, self._read_token) if known is not None]
        if sent is None or not any(matches):
            if sent is not None:  # who sends none guesses nothing
                self._failures.note(address)
            raise ApiError(401, "bad_admin_token", "Send 'Authorization: Bearer <admin.token>'.")
        return matches[0]

    def _names_us(self, request: Request) -> bool:
        try:
            host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        except ValueError:  # a bracket without its other one
            return False
        return host == "localhost" or host == self._own_host or _is_local(host)


def _is_bearer(sent: str, token: bytes) -> bool:
    scheme, _, secret = sent.partition(" ")
    # Always both, and digests: how long it takes tells neither the token's length nor what of it was right.
    matches = hmac.compare_digest(_digest(secret.strip()), token)
    return scheme.lower() == "bearer" and matches


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # A socket for both families has IPv4 clients as ::ffff:127.0.0.1.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
