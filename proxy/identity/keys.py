"""The keys that tokens are checked with: each for the algorithms that it is meant for, and for no other."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import jwt
import msgspec
from jwt.algorithms import get_default_algorithms

# By algorithm: the kind of key, and the curve where only one will do.
KINDS: Final[Mapping[str, tuple[str, str | None]]] = {
    **{f"{family}{size}": ("RSA", None) for family in ("RS", "PS") for size in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", None),
}
# What a public key consists of. A set that was published with private halves is somebody's accident.
PUBLIC: Final = ("kty", "n", "e", "crv", "x", "y")
# Of one set: a token without the name of its key is tried with all of them.
MOST: Final = 64


class Jwk(msgspec.Struct):
    """What is read of a key besides its numbers."""

    kty: str
    kid: str | None = None
    alg: str | None = None
    use: str | None = None
    crv: str | None = None
    key_ops: list[str] | None = None

    def fits(self, algorithm: str) -> bool:
        """Whether it is a key for signatures of this kind."""
        kind, curve = KINDS[algorithm]
        if self.kty != kind or (curve is not None and self.crv != curve):
            return False
        if self.use == "enc" or (self.key_ops is not None and "verify" not in self.key_ops):
            return False
        return self.alg in (None, algorithm)


class _Jwks(msgspec.Struct):
    keys: list[Any]


class KeySet:
    """Keys by algorithm, each with its name, if it has one."""

    def __init__(self, keys: Iterable[tuple[str, str | None, Any]]) -> None:
        self._keys: dict[str, list[tuple[str | None, Any]]] = {}
        for algorithm, name, key in keys:
            self._keys.setdefault(algorithm, []).append((name, key))

    @property
    def algorithms(self) -> list[str]:
        """Those that there is a key for."""
        return list(self._keys)

    def find(self, algorithm: str, name: str | None) -> list[Any]:
        """Those that may have made a signature; *name* None: the token does not say which one has."""
        known = self._keys.get(algorithm, [])
        return [key for called, key in known if name is None or called is None or called == name]


def read_jwks(data: bytes, algorithms: Sequence[str]) -> KeySet:
    """The keys of a JWKS document that are for *algorithms*; others, and what is no key, are left out.

    Raises:
        ValueError: it is no such document, or has no key for any of them.
    """
    try:
        entries = msgspec.json.decode(data, type=_Jwks).keys[:MOST]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError("it is no JWKS document") from exc
    keys = KeySet(made for entry in entries for algorithm in algorithms for made in _make(entry, algorithm))
    if not keys.algorithms:
        raise ValueError(f"it has no key for {' or '.join(algorithms)}")
    return keys


def _make(entry: Any, algorithm: str) -> list[tuple[str, str | None, Any]]:
    """The key for *algorithm*, or nothing."""
    try:
        described = msgspec.convert(entry, Jwk)
        if not described.fits(algorithm):
            return []
        public = {name: entry[name] for name in PUBLIC if name in entry}
        key = jwt.PyJWK(public, algorithm).key
        return [] if get_default_algorithms()[algorithm].check_key_length(key) else [(algorithm, described.kid, key)]
    except (msgspec.ValidationError, jwt.PyJWTError, ValueError, TypeError):
        return []


def read_key(text: str, algorithms: Sequence[str]) -> KeySet:
    """The one configured key: a shared secret, or a public key in PEM.

    Raises:
        ValueError: it is none for one of *algorithms*.
    """
    keys = []
    for name in algorithms:
        algorithm = get_default_algorithms()[name]
        try:
            key = algorithm.prepare_key(text)
        except (jwt.PyJWTError, ValueError, TypeError):
            kind = "a shared secret" if name not in KINDS else "a public key in PEM"
            raise ValueError(f"should be {kind} for {name}") from None
        if hasattr(key, "private_bytes"):
            raise ValueError("is a private key; tokens are checked with the public one")
        if algorithm.check_key_length(key):
            raise ValueError(f"is too short for {name}; `openssl rand -hex 32` makes a secret that is not")
        keys.append((name, None, key))
    return KeySet(keys)
