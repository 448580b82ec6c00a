"""Mode ``jwt``: which tokens are believed, by which keys, and for how long."""

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.config.access import Identity
from proxy.errors import ApiError, ConfigError, UnauthorizedError
from proxy.identity.jwks import FixedSource
from proxy.identity.jwt import LEEWAY_S, REMEMBERED, TokenIdentifier, Verified
from proxy.identity.keys import KeySet, read_jwks, read_key
from proxy.models import Scope
from proxy.tasks import Tasks
from tests.tokens import (
    AUDIENCE,
    ISSUER,
    SHARED,
    ec_key,
    ed_key,
    forge_tokens,
    jwk,
    jwks,
    pem,
    rsa_key,
    token,
)

CHECKED = {"issuer": ISSUER, "audience": AUDIENCE}


def identifier(**options: Any) -> TokenIdentifier:
    """One for RS256 with the RSA key number 0, unless *options* say otherwise."""
    told = {"algorithms": ("RS256",), "key": pem(rsa_key()), **CHECKED, **options}
    return TokenIdentifier(Identity.model_validate({"mode": "jwt", "jwt": told}), Tasks())


async def identify(
    sent: bytes | None, *, by: TokenIdentifier | None = None, claimed: str | None = None
) -> Scope | None:
    headers = [(b"x-user-token", sent)] if sent is not None else []
    if claimed is not None:
        headers.append((b"x-user-id", claimed.encode()))
    return await (by or identifier()).identify(headers, "somebody-else", "shop")


async def refusal(sent: bytes | None, *, by: TokenIdentifier | None = None, claimed: str | None = None) -> str:
    """The reason of a 401 that tells nothing of what was sent."""
    with pytest.raises(UnauthorizedError) as caught:
        await identify(sent, by=by, claimed=claimed)
    error = caught.value
    assert (error.status, error.code) == (401, "memory_proxy_bad_token")
    assert not sent or sent.decode("latin-1") not in error.message
    return error.reason


@pytest.mark.parametrize("user_id", ["ada", "é", "e\u0301", "🐝" * 256, "a.b", "auth0|1234", " ", "0"])
async def test_a_good_token(user_id: str) -> None:
    """Its user, of the client's tenant; the second time, too, when it is known already."""
    by = identifier()
    sent = token(user_id)
    for value in (sent, sent, b"Bearer " + sent, b"bearer  " + sent, b" " + sent + b"\t"):
        assert await identify(value, by=by) == Scope(user_id, "shop")


async def test_nobody() -> None:
    """Without a token; the body names nobody."""
    assert await identify(None) is None


async def test_a_claim_beside_the_token() -> None:
    """A user id without proof is 401; another one than the token's is 400; the same one is superfluous."""
    sent = token("ada")
    assert await refusal(None, claimed="ada") == "unproven"
    assert await identify(sent, claimed="ada") == Scope("ada", "shop")
    for claimed in ("bob", "Ada", "аda", ""):
        with pytest.raises(ApiError) as caught:
            await identify(sent, claimed=claimed)
        assert (caught.value.status, caught.value.code) == (400, "memory_proxy_bad_user_id")


@pytest.mark.parametrize("name", [b"x-user-id", b"x-user-token"])
async def test_headers_sent_twice(name: bytes) -> None:
    """400, even if they are equal."""
    pairs = [(b"x-user-token", token()), (b"x-user-id", b"ada")]
    with pytest.raises(ApiError) as caught:
        await identifier().identify([*pairs, *(pair for pair in pairs if pair[0] == name)], None, "")
    assert caught.value.status == 400


@pytest.mark.parametrize("user_id", [None, 7, 7.5, True, ["ada"], {"id": "ada"}])
async def test_a_claim_of_another_kind(user_id: Any) -> None:
    """The user is a text, and no number that looks like one."""
    assert await refusal(token(user_id)) == "bad_token"


@pytest.mark.parametrize("user_id", ["", "x" * 257, "a\nb", "a\x00b"])
async def test_a_claim_that_is_no_id(user_id: str) -> None:
    """400, as in any mode."""
    with pytest.raises(ApiError) as caught:
        await identify(token(user_id))
    assert (caught.value.status, caught.value.code) == (400, "memory_proxy_bad_user_id")


async def test_another_claim() -> None:
    """As configured; what ``sub`` and ``jti`` have does not matter then."""
    by = identifier(claim="email")
    assert await identify(token(7, email="ada@example.com", jti=8), by=by) == Scope("ada@example.com", "shop")
    assert await refusal(token("ada"), by=by) == "bad_token"


@pytest.mark.parametrize("what", sorted(forge_tokens()))
async def test_what_is_not_believed(what: str) -> None:
    """401, and a good token of the same user is believed before and after it."""
    by = identifier()
    assert await identify(token(), by=by) == Scope("ada", "shop")
    assert await refusal(forge_tokens()[what], by=by) == "bad_token"
    assert await identify(token(), by=by) == Scope("ada", "shop")


async def test_expiry() -> None:
    """Ten seconds are forgiven, because clocks differ; more are not."""
    now = int(time.time())
    assert await identify(token(exp=now - LEEWAY_S + 5)) == Scope("ada", "shop")
    assert await refusal(token(exp=now - LEEWAY_S - 1)) == "expired_token"
    assert await identify(token(nbf=now + LEEWAY_S - 5, iat=now + LEEWAY_S - 5)) == Scope("ada", "shop")


def test_a_token_that_is_known_expires_all_the_same() -> None:
    """What was good once is looked at again when its time is over."""
    now = [100.0]
    verified, keys = Verified(lambda: now[0]), KeySet([])
    assert verified.find(b"token", keys) is None
    verified.add(b"token", keys, "ada", 101)
    assert verified.find(b"token", keys) == "ada"
    now[0] = 101.0
    assert verified.find(b"token", keys) is None
    assert len(verified) == 0


def test_known_tokens_are_few_and_belong_to_their_keys() -> None:
    """The last ones used; none of them when the keys change, nor one that was checked with older keys."""
    verified, keys, newer = Verified(lambda: 0.0), KeySet([]), KeySet([])
    assert verified.find(b"first", keys) is None
    for number in range(REMEMBERED):
        verified.add(b"%d" % number, keys, "ada", 1)
    assert verified.find(b"0", keys) == "ada"
    verified.add(b"one more", keys, "ada", 1)
    assert len(verified) == REMEMBERED
    assert (verified.find(b"0", keys), verified.find(b"1", keys)) == ("ada", None)
    assert verified.find(b"0", newer) is None
    verified.add(b"late", keys, "ada", 1)
    assert len(verified) == 0


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        *((name, "rsa") for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        ("ES256", ec.SECP256R1),
        ("ES384", ec.SECP384R1),
        ("ES512", ec.SECP521R1),
        ("EdDSA", "ed"),
    ],
)
@pytest.mark.parametrize("published", [False, True])
async def test_every_kind_of_key_pair(algorithm: str, key: Any, published: bool) -> None:
    """As PEM, and as one of a set."""
    pair: Any = rsa_key() if key == "rsa" else ed_key() if key == "ed" else ec_key(key)
    by = identifier(algorithms=(algorithm,), key=pem(pair))
    if published:
        by._source = FixedSource(read_jwks(jwks(jwk(pair, algorithm, kid="1")), (algorithm,)))
    assert await identify(token(key=pair, algorithm=algorithm, head={"kid": "1"}), by=by) == Scope("ada", "shop")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_shared_secrets(algorithm: str) -> None:
    """Of the hash that is configured, and no other."""
    by = identifier(algorithms=(algorithm,), key=SHARED)
    assert await identify(token(key=SHARED, algorithm=algorithm), by=by) == Scope("ada", "shop")
    for other in {"HS256", "HS384", "HS512"} - {algorithm}:
        assert await refusal(token(key=SHARED, algorithm=other), by=by) == "bad_token"
    assert await refusal(token(), by=by) == "bad_token"


@pytest.mark.parametrize(
    ("algorithms", "key", "reason"),
    [
        (("RS256",), "no key", "should be a public key in PEM for RS256"),
        (("ES256",), pem(rsa_key()), "should be a public key in PEM for ES256"),
        (("ES256",), pem(ec_key(ec.SECP384R1)), "should be a public key in PEM for ES256"),
        (("RS256", "ES256"), pem(rsa_key()), "should be a public key in PEM for ES256"),
        (("HS256",), pem(rsa_key()), "should be a shared secret for HS256"),
        (("HS256",), "brief secret", "is too short for HS256"),
        (("RS256",), pem(rsa_key(bits=1024)), "is too short for RS256"),
    ],
)
def test_a_key_that_is_none(algorithms: tuple[str, ...], key: str, reason: str) -> None:
    """The proxy does not start, and says why without the key."""
    with pytest.raises(ConfigError) as caught:
        identifier(algorithms=algorithms, key=key)
    assert str(caught.value).startswith(f"identity.jwt.key: {reason}")
    assert key not in str(caught.value)


def test_a_private_key_does_not_belong_here() -> None:
    """It would check tokens as well, but nobody should copy it around."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    secret = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(ValueError, match="private key"):
        read_key(secret, ("RS256",))


GOOD = jwk(rsa_key(), "RS256", kid="1")
UNFIT: dict[str, Any] = {
    "for encryption": {**GOOD, "use": "enc"},
    "for wrapping": {**GOOD, "key_ops": ["wrapKey"]},
    "for another algorithm": {**GOOD, "alg": "RS512"},
    "for the other padding": {**GOOD, "alg": "PS256"},
    "for encryption by algorithm": {**GOOD, "alg": "RSA-OAEP"},
    "of another kind": jwk(ec_key(), "ES256", kid="1"),
    "a secret": {"kty": "oct", "k": "AAAA", "alg": "RS256", "kid": "1"},
    "a secret that says it is RSA": {"kty": "RSA", "k": "AAAA", "kid": "1"},
    "too short": jwk(rsa_key(bits=1024), "RS256", kid="1"),
    "without numbers": {"kty": "RSA", "kid": "1"},
    "numbers of another kind": {**GOOD, "n": 7},
    "a name of another kind": {**GOOD, "kid": 7},
    "no object": "key",
}


@pytest.mark.parametrize("what", UNFIT)
def test_keys_of_a_set_that_are_left_out(what: str) -> None:
    """What does not fit is no key, and does not make the others none."""
    with pytest.raises(ValueError, match="no key for RS256"):
        read_jwks(jwks(UNFIT[what]), ("RS256",))
    assert len(read_jwks(jwks(UNFIT[what], GOOD), ("RS256",)).find("RS256", "1")) == 1


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"keys": {}}', b'{"keys": []}', b"\xff", b"[" * 10_000])
def test_what_is_no_set(data: bytes) -> None:
    """An error page, for example."""
    with pytest.raises(ValueError, match=r"JWKS|no key"):
        read_jwks(data, ("RS256",))


def test_private_halves_are_not_read() -> None:
    """A set that was published with them by accident works, and holds none of them."""
    from jwt.algorithms import RSAAlgorithm

    secret = RSAAlgorithm.to_jwk(rsa_key(), as_dict=True)
    secret.pop("key_ops")
    (key,) = read_jwks(jwks({**secret, "kid": "1"}), ("RS256",)).find("RS256", "1")
    assert not hasattr(key, "private_bytes")


async def test_names_of_keys() -> None:
    """Only the key that a token names is tried, and all of them where it names none."""
    by = identifier()
    keys = (jwk(rsa_key(0), "RS256", kid="a"), jwk(rsa_key(1), "RS256", kid="b"), jwk(rsa_key(2), "RS256"))
    by._source = FixedSource(read_jwks(jwks(*keys), ("RS256",)))
    good = [(0, {"kid": "a"}), (1, {"kid": "b"}), (0, {}), (1, {}), (2, {}), (2, {"kid": "unnamed"})]
    for number, head in good:
        assert await identify(token(key=rsa_key(number), head=head), by=by) == Scope("ada", "shop")
    for number, head in [(0, {"kid": "b"}), (1, {"kid": "a"}), (1, {"kid": "c"}), (3, {}), (3, {"kid": "a"})]:
        assert await refusal(token(key=rsa_key(number), head=head), by=by) == "bad_token"


async def test_any_audience_of_several() -> None:
    """A token may be for several; without a configured one, only tokens for nobody in particular are believed."""
    assert await identify(token(aud=["other", AUDIENCE])) == Scope("ada", "shop")
    by = identifier(audience=None, issuer=None)
    assert await identify(token(aud=None, iss=None), by=by) == Scope("ada", "shop")
    assert await refusal(token(), by=by) == "bad_token"


async def test_a_token_in_authorization() -> None:
    """Its scheme is no part of it."""
    by = identifier(header="Authorization")
    headers = [(b"authorization", b"Bearer " + token())]
    assert await by.identify(headers, None, "") == Scope("ada")


def test_pem_may_have_lines(tmp_path: Path) -> None:
    """A key in a file of configuration, as it comes from ``openssl``."""
    from proxy import config

    lines = "".join(f"      {line}\n" for line in pem(rsa_key()).splitlines())
    path = tmp_path / "config.yaml"
    path.write_text(f"identity:\n  mode: jwt\n  jwt:\n    algorithms: [RS256]\n    key: |\n{lines}")
    assert config.load(path, environ={}).identity.jwt.key is not None
