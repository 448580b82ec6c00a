"""Mode ``header``: the user is who a header says. For networks in which nobody but the chatbot reaches the proxy."""

from proxy.config.access import Identity
from proxy.identity.base import RawHeaders, check_user_id, decode_user_id, read_single
from proxy.models import Scope
from proxy.tasks import Tasks


class HeaderIdentifier:
    """Believes the header, then the body."""

    def __init__(self, settings: Identity, _: Tasks) -> None:
        self._header = settings.header
        self._falls_back = settings.body_fallback

    async def identify(self, headers: RawHeaders, body_user: str | None, tenant: str) -> Scope | None:
        """As :class:`proxy.identity.base.Identifier` has it. A bad header is not made good by the body."""
        sent = read_single(headers, self._header)
        if sent is not None:
            return Scope(decode_user_id(sent), tenant)
        return Scope(check_user_id(body_user), tenant) if body_user and self._falls_back else None

    async def aclose(self) -> None:
        """There is nothing."""
