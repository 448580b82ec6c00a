"""Mode ``signed``: what is believed, what is not, and for how long."""

import hashlib
import hmac
from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from proxy.config.access import Identity
from proxy.errors import ApiError, UnauthorizedError
from proxy.identity.signed import LONGEST, SignedIdentifier, read_signature
from proxy.models import Scope
from proxy.tasks import Tasks

NOW = 1_700_000_000
OLD, NEW, LOST = "old-secret-of-enough-bytes", "new-secret-of-enough-bytes", "lost-secret-of-enough-bytes"


def digest(user_id: str | bytes, at: int | str = NOW, secret: str = OLD) -> str:
    """As a backend in any language would make it, from what the README says."""
    raw = user_id if isinstance(user_id, bytes) else user_id.encode()
    return hmac.new(secret.encode(), f"{at}.".encode() + raw, hashlib.sha256).hexdigest()


def sign(user_id: str | bytes, at: int | str = NOW, secret: str = OLD) -> bytes:
    return f"t={at},v1={digest(user_id, at, secret)}".encode()


def identifier(secrets: Sequence[str] = (OLD, NEW), now: float = NOW) -> SignedIdentifier:
    settings = Identity(mode="signed", secrets=tuple(SecretStr(secret) for secret in secrets))
    return SignedIdentifier(settings, Tasks(), clock=lambda: now)


async def identify(
    user_id: str | bytes | None, signature: bytes | None, *, by: SignedIdentifier | None = None
) -> Scope | None:
    headers = []
    if user_id is not None:
        headers.append((b"x-user-id", user_id if isinstance(user_id, bytes) else user_id.encode()))
    if signature is not None:
        headers.append((b"x-user-signature", signature))
    return await (by or identifier()).identify(headers, "somebody-else", "shop")


async def refusal(user_id: str | bytes | None, signature: bytes | None, by: SignedIdentifier | None = None) -> str:
    """The reason of a 401 that tells nothing of what was sent."""
    with pytest.raises(UnauthorizedError) as caught:
        await identify(user_id, signature, by=by)
    error = caught.value
    assert (error.status, error.code) == (401, "memory_proxy_bad_signature")
    body = error.body().decode()
    assert not [value for value in (user_id, signature) if value and str(value) in body]
    return error.reason


@pytest.mark.parametrize("user_id", ["ada", "é", "e\u0301", "🐝" * 256, "a.b,c=d", "t=1,v1=2", "a b", "0"])
async def test_what_is_signed(user_id: str) -> None:
    """The id as it is sent, byte for byte; the tenant is the client's."""
    assert await identify(user_id, sign(user_id)) == Scope(user_id, "shop")


async def test_nobody() -> None:
    """Neither header is nobody, and the body names nobody either."""
    assert await identify(None, None) is None


GOOD = digest("ada")
FORGED = {
    "another user's": sign("bob"),
    "another secret's": sign("ada", secret=LOST),
    "another time's": f"t={NOW + 1},v1={GOOD}".encode(),
    "the user in another case": sign("Ada"),
    "a look-alike of the user": sign("аda"),
    "empty": b"",
    "no time": f"v1={GOOD}".encode(),
    "no signature": f"t={NOW}".encode(),
    "an empty signature": f"t={NOW},v1=".encode(),
    "an empty time": f"t=,v1={digest('ada', '')}".encode(),
    "two times": f"t={NOW},t={NOW},v1={GOOD}".encode(),
    "a later version only": f"t={NOW},v2={GOOD}".encode(),
    "an older version only": f"t={NOW},v0={GOOD}".encode(),
    "a signature cut short": f"t={NOW},v1={GOOD[:-2]}".encode(),
    "a signature with more": f"t={NOW},v1={GOOD}00".encode(),
    "not hexadecimal": f"t={NOW},v1={'g' * 64}".encode(),
    "spaced hexadecimal": f"t={NOW},v1={' '.join(GOOD[i : i + 2] for i in range(0, 64, 2))}".encode(),
    "a signed time": f"t=+{NOW},v1={digest('ada', f'+{NOW}')}".encode(),
    "a negative time": f"t=-1,v1={digest('ada', -1)}".encode(),
    "a fraction": f"t={NOW}.0,v1={digest('ada', f'{NOW}.0')}".encode(),
    "an exponent": f"t=17e8,v1={digest('ada', '17e8')}".encode(),
    "underscores": f"t=1_700_000_000,v1={digest('ada', '1_700_000_000')}".encode(),
    "other digits": f"t=١٧٠٠,v1={digest('ada', '١٧٠٠')}".encode(),
    "a time in hexadecimal": f"t=0x6553f100,v1={digest('ada', '0x6553f100')}".encode(),
    "a time that overflows": f"t={'9' * 400},v1={digest('ada', '9' * 400)}".encode(),
    "a part that is none": f"t={NOW},v1={GOOD},x".encode(),
    "upper-case names": f"T={NOW},V1={GOOD}".encode(),
    "semicolons": f"t={NOW};v1={GOOD}".encode(),
    "a comma of its own": f"t={NOW},,v1={GOOD}".encode(),
    "too long": f"t={NOW},v1={GOOD}".encode() + b",x=" + b"y" * LONGEST,
    "no UTF-8": b"\xff\xfe",
    "control characters": b"t=1\x00,v1=" + GOOD.encode(),
}


@pytest.mark.parametrize("signature", FORGED.values(), ids=FORGED)
async def test_what_is_not_believed(signature: bytes) -> None:
    """401, and nobody is told what was wrong with it."""
    assert await refusal("ada", signature) == "bad_signature"


async def test_one_without_the_other() -> None:
    """An id without a signature is somebody's claim, and a signature without an id is of nobody."""
    assert await refusal("ada", None) == "unproven"
    assert await refusal(None, sign("ada")) == "bad_signature"
    assert await refusal(None, sign("")) == "bad_signature"


@pytest.mark.parametrize(
    "signature",
    [
        f"v1={GOOD},t={NOW}",
        f"t={NOW}, v1={GOOD}",
        f"t={NOW},v1={GOOD.upper()}",
        f"t={NOW},v0={'0' * 64},v1={GOOD},v2=whatever",
        f"t={NOW},v1={'0' * 64},v1={GOOD}",
        f"t={NOW},v1={GOOD},v1=short",
        f" t={NOW},v1={GOOD}\t",
    ],
)
async def test_what_is_read(signature: str) -> None:
    """Order, space, case of digits and other versions do not matter; one good signature of several does."""
    assert await identify("ada", signature.encode()) == Scope("ada", "shop")


async def test_two_secrets_live_and_the_old_one_dies() -> None:
    """A backend may change from one to the other at any time while both are configured, and not afterwards."""
    both, newer = identifier((OLD, NEW)), identifier((NEW,))
    for secret in (OLD, NEW):
        assert await identify("ada", sign("ada", secret=secret), by=both) == Scope("ada", "shop")
    assert await identify("ada", sign("ada", secret=NEW), by=newer) == Scope("ada", "shop")
    assert await refusal("ada", sign("ada", secret=OLD), newer) == "bad_signature"
    twice = f"t={NOW},v1={digest('ada', secret=OLD)},v1={digest('ada', secret=NEW)}".encode()
    assert await identify("ada", twice, by=newer) == Scope("ada", "shop")


@pytest.mark.parametrize(
    ("at", "good"),
    [(NOW - 301, False), (NOW - 300, True), (NOW, True), (NOW + 300, True), (NOW + 301, False), (0, False)],
)
async def test_the_window(at: int, good: bool) -> None:
    """Five minutes to both sides, the edges included."""
    if good:
        assert await identify("ada", sign("ada", at)) == Scope("ada", "shop")
    else:
        assert await refusal("ada", sign("ada", at)) == "old_signature"


async def test_an_old_time_nobody_has_signed_is_no_old_signature() -> None:
    """Metrics tell clocks that are wrong from forgery."""
    assert await refusal("ada", f"t=1,v1={GOOD}".encode()) == "bad_signature"


@pytest.mark.parametrize("user_id", [b"", b"x" * 257, b"\xff", b"a\x00b"])
async def test_a_signed_id_still_has_to_be_one(user_id: bytes) -> None:
    """400, as in any mode."""
    with pytest.raises(ApiError) as caught:
        await identify(user_id, sign(user_id))
    assert (caught.value.status, caught.value.code) == (400, "memory_proxy_bad_user_id")


@pytest.mark.parametrize("name", [b"x-user-id", b"x-user-signature"])
async def test_headers_sent_twice(name: bytes) -> None:
    """400, equal or not: somebody in between may have looked at the other one."""
    headers = [(b"x-user-id", b"ada"), (b"x-user-signature", sign("ada"))]
    with pytest.raises(ApiError) as caught:
        await identifier().identify([*headers, *(pair for pair in headers if pair[0] == name)], None, "")
    assert caught.value.status == 400


def test_any_bytes_can_be_read() -> None:
    """No header makes the reading fail."""
    for number in range(256):
        assert read_signature(bytes([number]) * 3) is None
