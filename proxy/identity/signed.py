"""Mode ``signed``: the user id comes with an HMAC that only the chatbot's backend can make.

``X-User-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256(secret, "<t>.<user id>")>``. As with the web hooks of Stripe,
there may be several ``v1``, made with different secrets while one is being replaced by another.
"""

import hmac
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.config.access import Identity
from proxy.errors import UnauthorizedError
from proxy.identity.base import RawHeaders, Reason, decode_user_id, read_single
from proxy.models import Scope
from proxy.tasks import Tasks

SIGNATURE: Final = "X-User-Signature"
# A dozen signatures; a longer header would only be work.
LONGEST: Final = 1024
# Ten digits last until the year 2286. No more of them than anybody needs, and none of the other digits of Unicode.
TIME: Final = re.compile(rb"[0-9]{1,12}")
HEX: Final = re.compile(rb"[0-9a-fA-F]{64}")

MESSAGES: Final[dict[Reason, str]] = {
    "bad_signature": "The signature of the user id is not valid.",
    "old_signature": "The signature of the user id is too old, or from the future.",
    "unproven": "The user id is not signed.",
}


@dataclass(frozen=True, slots=True)
class Signature:
    """*time*: as it was sent, which is what was signed."""

    time: bytes
    digests: Sequence[bytes]


class SignedIdentifier:
    """Believes the header that was signed with one of the secrets, a short time ago. *clock*: Unix seconds."""

    def __init__(self, settings: Identity, _: Tasks, *, clock: Callable[[], float] = time.time) -> None:
        self._header = settings.header
        self._secrets = [secret.get_secret_value().encode() for secret in settings.secrets]
        self._max_age_s = settings.max_age_s
        self._clock = clock

    async def identify(self, headers: RawHeaders, body_user: str | None, tenant: str) -> Scope | None:
        """As :class:`proxy.identity.base.Identifier` has it."""
        sent = read_single(headers, self._header)
        signature = read_single(headers, SIGNATURE)
        if sent is None and signature is None:
            return None
        if signature is None:
            raise _refuse("unproven")
        if sent is None:
            raise _refuse("bad_signature")
        self._check(read_signature(signature), sent)
        return Scope(decode_user_id(sent), tenant)

    def _check(self, signature: Signature | None, user_id: bytes) -> None:
        """The signature before its age: what a time says that nobody has signed is no news."""
        if signature is None or not self._is_genuine(signature, user_id):
            raise _refuse("bad_signature")
        if abs(self._clock() - int(signature.time)) > self._max_age_s:
            raise _refuse("old_signature")

    def _is_genuine(self, signature: Signature, user_id: bytes) -> bool:
        """Compares everything with everything: how long it takes tells neither which secret it was nor how near."""
        signed = signature.time + b"." + user_id
        found = False
        for secret in self._secrets:
            digest = hmac.digest(secret, signed, "sha256")
            for sent in signature.digests:
                found |= hmac.compare_digest(digest, sent)
        return found

    async def aclose(self) -> None:
        """There is nothing."""


def read_signature(value: bytes) -> Signature | None:
    """What the header says, or None for what is no such header. Versions other than ``v1`` are somebody else's."""
    if len(value) > LONGEST:
        return None
    times, digests = [], []
    for part in value.split(b","):
        name, equals, content = part.strip(b" \t").partition(b"=")
        if not equals:
            return None
        if name == b"t":
            times.append(content)
        elif name == b"v1" and HEX.fullmatch(content):
            digests.append(bytes.fromhex(content.decode("ascii")))
    if len(times) != 1 or not TIME.fullmatch(times[0]) or not digests:
        return None
    return Signature(times[0], digests)


def _refuse(reason: Reason) -> UnauthorizedError:
    return UnauthorizedError(reason, "bad_signature", MESSAGES[reason], param="user")
