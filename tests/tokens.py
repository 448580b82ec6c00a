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
    """Of a token that is good for a minute; None takes a claim out."""
    now = int(time.time())
    told = {"sub": user_id, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 60, **changed}
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
