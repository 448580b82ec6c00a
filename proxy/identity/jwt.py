"""Mode ``jwt``: the user is in a token that somebody else has signed.

Which algorithms and keys are good is the configuration's to say. What a token says of keys is not looked at, but for
the name of one of ours.
"""

import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import jwt
import msgspec
from msgspec import UNSET, UnsetType

from proxy.config.access import Identity
from proxy.errors import UnauthorizedError
from proxy.identity.base import RawHeaders, Reason, bad_user_id, check_user_id, decode_user_id, read_single
from proxy.identity.jwks import KeySource, open_source
from proxy.identity.keys import KeySet
from proxy.models import Scope
from proxy.tasks import Tasks

# Far above what identity providers make.
LONGEST: Final = 16_384
# The clock of whoever issues tokens may be ahead of ours, or behind.
LEEWAY_S: Final = 10
# A signature takes 30 to 150 µs to check, and a user's token comes with each request. 32 bytes each, and the user id.
REMEMBERED: Final = 4096
BEARER: Final = b"bearer "

# We look at the claim that the user is in ourselves, and ids of tokens are of no use here.
OPTIONS: Final[Any] = {
    "require": ["exp"],
    "verify_sub": False,
    "verify_jti": False,
    "enforce_minimum_key_length": True,
}

MESSAGES: Final[dict[Reason, str]] = {
    "bad_token": "The token is not valid.",
    "expired_token": "The token has expired.",
    "unproven": "The user id comes without a token.",
}


class _Head(msgspec.Struct):
    """What is looked at before the signature: PyJWT reads all of it again, and strictly, but takes longer."""

    alg: str
    kid: str | None = None
    crit: msgspec.Raw | UnsetType = UNSET


class TokenIdentifier:
    """Believes tokens. *source* stands in for the configured keys; *clock*: Unix seconds."""

    def __init__(
        self,
        settings: Identity,
        tasks: Tasks,
        *,
        source: KeySource | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises ConfigError where the configured key is none."""
        self._header = settings.header
        self._settings = settings.jwt
        self._source = source or open_source(settings.jwt, tasks)
        self._verified = Verified(clock)

    async def identify(self, headers: RawHeaders, body_user: str | None, tenant: str) -> Scope | None:
        """As :class:`proxy.identity.base.Identifier` has it."""
        claimed = read_single(headers, self._header)
        token = read_single(headers, self._settings.header)
        if token is None:
            if claimed is not None:
                raise _refuse("unproven")
            return None
        user_id = await self._verify(_strip_scheme(token))
        if claimed is not None and decode_user_id(claimed) != user_id:
            raise bad_user_id("is not that of the token")
        return Scope(check_user_id(user_id), tenant)

    async def _verify(self, token: bytes) -> str:
        """The user whom *token* names."""
        if not token or len(token) > LONGEST:
            raise _refuse("bad_token")
        keys = self._source.known() or await self._source.load()
        known = self._verified.find(token, keys)
        if known is not None:
            return known
        algorithm, name = self._read_head(token)
        candidates = keys.find(algorithm, name)
        if not candidates:
            keys = await self._source.look_again()
            candidates = keys.find(algorithm, name)
        claims = self._decode(token, algorithm, candidates)
        user_id = claims.get(self._settings.claim)
        if not isinstance(user_id, str):
            raise _refuse("bad_token")
        self._verified.add(token, keys, user_id, int(claims["exp"]) + LEEWAY_S)
        return user_id

    def _read_head(self, token: bytes) -> tuple[str, str | None]:
        """Algorithm and the name of the key, neither of which anybody has vouched for yet."""
        try:
            head = msgspec.json.decode(base64.urlsafe_b64decode(token.partition(b".")[0] + b"=="), type=_Head)
        except (ValueError, msgspec.MsgspecError, RecursionError):
            raise _refuse("bad_token") from None
        if head.alg not in self._settings.algorithms or head.crit is not UNSET:
            raise _refuse("bad_token")
        return head.alg, head.kid

    def _decode(self, token: bytes, algorithm: str, candidates: list[Any]) -> dict[str, Any]:
        """The claims, when one of the *candidates* has signed them and they hold now."""
        for key in candidates:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._settings.audience,
                    issuer=self._settings.issuer,
                    leeway=LEEWAY_S,
                    options=OPTIONS,
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError:
                raise _refuse("expired_token") from None
            except jwt.PyJWTError:
                raise _refuse("bad_token") from None
            return claims
        raise _refuse("bad_token")

    async def aclose(self) -> None:
        """Ends what goes on in the background."""
        await self._source.aclose()


class Verified:
    """The tokens that were good a moment ago, until they expire or the keys change; those last used of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys: KeySet | None = None
        self._users: OrderedDict[bytes, tuple[str, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._users)

    def find(self, token: bytes, keys: KeySet) -> str | None:
        """The user of *token*, if it is known to be good by these *keys*."""
        if keys is not self._keys:
            self._users.clear()
            self._keys = keys
            return None
        digest = _digest(token)
        user_id, until = self._users.get(digest, ("", 0))
        if self._clock() >= until:
            self._users.pop(digest, None)
            return None
        self._users.move_to_end(digest)
        return user_id

    def add(self, token: bytes, keys: KeySet, user_id: str, until: int) -> None:
        """*token* was found to be good, until then."""
        if keys is self._keys:
            self._users[_digest(token)] = (user_id, until)
            if len(self._users) > REMEMBERED:
                self._users.popitem(last=False)


def _digest(token: bytes) -> bytes:
    # All of the token, its signature, too: one that only begins like a good one is another one.
    return hashlib.blake2b(token, digest_size=32).digest()


def _strip_scheme(token: bytes) -> bytes:
    """*token* as it is sent in ``Authorization``, too."""
    return token[len(BEARER) :].lstrip() if token[: len(BEARER)].lower() == BEARER else token


def _refuse(reason: Reason) -> UnauthorizedError:
    return UnauthorizedError(reason, "bad_token", MESSAGES[reason])
