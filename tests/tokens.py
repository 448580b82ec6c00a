"""Tokens and the keys that sign them, as identity providers make them, and as forgers do."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

ISSUER: Final = "https://login.example.com/"
AUDIENCE: Final = "my-chatbot"
SHARED: Final = "a shared secret that is long enough for SHA-512: 0123456789 0123456789"

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One of any number of key pairs, always the same for a *number*."""
    assert number >= 0
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def pem(key: Key) -> str:
    """Its public half."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(key: Key, algorithm: str, **fields: Any) -> dict[str, Any]:
    """Its public half as a JWK; *fields* are added."""
    algorithms: Mapping[str, Any] = get_default_algorithms()
    described: dict[str, Any] = algorithms[algorithm].to_jwk(key.public_key(), as_dict=True)
    described.pop("key_ops", None)
    return {**described, **fields}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(user_id: Any = "ada", **changed: Any) -> dict[str, Any]:
    """Of a token that is good for an hour; None takes a claim out."""
    now = int(time.time())
    told = {"sub": user_id, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 3600, **changed}
    return {name: value for name, value in told.items() if value is not None}


def token(
    user_id: Any = "ada",
    *,
    key: Any = None,
    algorithm: str = "RS256",
    head: Mapping[str, Any] | None = None,
    **changed: Any,
) -> bytes:
    """A token that *key* has signed, by default the RSA key number 0."""
    signer = rsa_key() if key is None else key
    return jwt.encode(claims(user_id, **changed), signer, algorithm, headers=dict(head or {})).encode()


def encode(part: object) -> bytes:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def assemble(head: object, body: object, signature: bytes = b"") -> bytes:
    """A token of whatever parts, which no library would make."""
    return b".".join((encode(head), encode(body), encode(signature)))


def sign_with_text(head: Mapping[str, Any], body: object, secret: bytes) -> bytes:
    """A token with an HMAC made with any bytes, such as those of a public key."""
    signed = encode(head) + b"." + encode(body)
    return signed + b"." + encode(hmac.new(secret, signed, hashlib.sha256).digest())


@cache
def forge_tokens(user_id: str = "ada", *, longest: int = 16_384, leeway_s: int = 10) -> Mapping[str, bytes]:
    """Tokens of *user_id* that nobody should believe who believes the RSA key number 0, by what is wrong with each."""
    head_of_all = {"alg": "RS256", "typ": "JWT"}
    good, others = token(user_id), token(user_id, key=rsa_key(1))
    head, body, signature = good.split(b".")
    public = pem(rsa_key()).encode()
    own = jwk(rsa_key(1), "RS256")
    none = [assemble({"alg": name, "typ": "JWT"}, claims(user_id)) for name in ("none", "None", "NONE", "nOnE", "")]
    return {
        **{f"alg none ({number})": value for number, value in enumerate(none)},
        "alg none with a signature": assemble({"alg": "none"}, claims(user_id), b"x" * 256),
        "no alg": assemble({"typ": "JWT"}, claims(user_id), b"x" * 256),
        "alg null": assemble({"alg": None}, claims(user_id), b"x" * 256),
        "alg a list": assemble({"alg": ["RS256"]}, claims(user_id), b"x" * 256),
        "the public key as a secret": sign_with_text({"alg": "HS256", "typ": "JWT"}, claims(user_id), public),
        "the same without a line end": sign_with_text({"alg": "HS256"}, claims(user_id), public.strip()),
        "the same called RS256": sign_with_text(head_of_all, claims(user_id), public),
        "an empty secret": sign_with_text({"alg": "HS256"}, claims(user_id), b""),
        "another family": token(user_id, algorithm="PS256"),
        "a longer hash": token(user_id, algorithm="RS512"),
        "another key": others,
        "another key, embedded": token(user_id, key=rsa_key(1), head={"jwk": own}),
        "another key, with its URL": token(user_id, key=rsa_key(1), head={"jku": "http://127.0.0.1:9/jwks.json"}),
        "another key, with its certificate": token(user_id, key=rsa_key(1), head={"x5u": "http://127.0.0.1:9/"}),
        "kid a path": token(user_id, key=rsa_key(1), head={"kid": "../../../../dev/null"}),
        "kid a query": token(user_id, key=rsa_key(1), head={"kid": "' UNION SELECT 'secret' --"}),
        "kid a number": assemble({**head_of_all, "kid": 1}, claims(user_id), b"x" * 256),
        "critical extensions": token(user_id, head={"crit": ["b64"], "b64": True}),
        "unknown critical extensions": assemble({**head_of_all, "crit": ["exp"]}, claims(user_id), b"x" * 256),
        "an unencoded body": assemble({**head_of_all, "b64": False, "crit": ["b64"]}, b"", b"x" * 256),
        "another body": head + b"." + encode(claims("another " + user_id)) + b"." + signature,
        "another head": encode({**head_of_all, "kid": "1"}) + b"." + body + b"." + signature,
        "another's signature": head + b"." + body + b"." + others.split(b".")[2],
        "no signature": head + b"." + body + b".",
        "two parts": head + b"." + body,
        "four parts": good + b".x",
        "five parts": b"a.b.c.d.e",
        "nothing but dots": b"..",
        "empty": b"",
        "a scheme only": b"Bearer ",
        "two schemes": b"Bearer Bearer " + good,
        "no base64": b"!!!." + body + b"." + signature,
        "no JSON": encode(b"{") + b"." + body + b"." + signature,
        "no UTF-8": b"\xff\xfe.\xff.\xff",
        "a deep head": encode(b"[" * 6000) + b"." + body + b"." + signature,
        "space within": head + b" ." + body + b"." + signature,
        "padded": head + b"==." + body + b"." + signature + b"====",
        "another signature of the same bytes": good[:-1] + (b"A" if good[-1:] != b"A" else b"B"),
        "too long": token(user_id, padding="x" * longest),
        "no user": token(None),
        "no expiry": token(user_id, exp=None),
        "an expiry of another kind": token(user_id, exp="soon"),
        "an endless expiry": token(user_id, exp=float("inf")),
        "another audience": token(user_id, aud="another-chatbot"),
        "other audiences": token(user_id, aud=["a", "b"]),
        "no audience": token(user_id, aud=None),
        "another issuer": token(user_id, iss="https://login.example.com.evil.test/"),
        "a part of the issuer": token(user_id, iss="https://login.example.com"),
        "no issuer": token(user_id, iss=None),
        "not yet": token(user_id, nbf=int(time.time()) + leeway_s + 3600),
        "from the future": token(user_id, iat=int(time.time()) + leeway_s + 3600),
    }
