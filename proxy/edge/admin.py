"""Who may use the control plane."""

import hmac
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from proxy.config import Settings
from proxy.errors import ApiError

# What reverse proxies add. Without these one on the same machine would make everybody look like a client of it.
FORWARDING: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Gatekeeper:
    """With a token: whoever sends it. Without one: clients of this machine only.

    A web page that somebody on this machine looks at is not a client: without a token, the ``Host`` must be a name of
    this machine (a page may point its own name at 127.0.0.1), and with or without one a foreign ``Origin`` is refused.
    """

    def __init__(self, settings: Settings) -> None:
        secret = settings.admin.token
        self._token = secret.get_secret_value().encode() if secret is not None else None
        self._own_host = settings.server.host

    def check(self, request: Request) -> None:
        """Returns if the request may pass.

        Raises:
            ApiError: 401 or 403.
        """
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            raise ApiError(403, "foreign_origin", "Requests from other sites' pages are refused.")
        if self._token is not None:
            self._check_token(request)
        elif any(header in request.headers for header in FORWARDING):
            raise ApiError(403, "local_only", "Requests that came through another proxy need admin.token.")
        elif not _is_local(request.client.host if request.client else "") or not self._names_us(request):
            raise ApiError(403, "local_only", "Without admin.token only clients on this machine are answered.")

    def _check_token(self, request: Request) -> None:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        # Compared as bytes: compare_digest refuses text beyond ASCII.
        matches = hmac.compare_digest(sent.strip().encode("utf-8", "surrogatepass"), self._token or b"")
        if scheme.lower() != "bearer" or not matches:
            raise ApiError(401, "bad_admin_token", "Send 'Authorization: Bearer <admin.token>'.")

    def _names_us(self, request: Request) -> bool:
        try:
            host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        except ValueError:  # a bracket without its other one
            return False
        return host == "localhost" or host == self._own_host or _is_local(host)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
