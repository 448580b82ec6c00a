"""Secrets that are marked at their beginning in so many words: private keys, and passwords within URLs."""

import re
from collections.abc import Iterator
from typing import Final

from proxy.redaction.base import Hit, Reader, Rule, Subject
from proxy.redaction.values import is_hollow, is_reference

# Possessive, as all that may follow them stands apart: no text makes these go back.
_PEM: Final = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:[^-]|-(?!----)){0,65536}+-----END [A-Z0-9 ]{0,40}-----|(?:[A-Za-z0-9+/=\s]|\\[nr]){0,65536}+)"
)
_PUTTY: Final = (
    r"PuTTY-User-Key-File-\d:(?:[^P]|P(?!uTTY-User|rivate-Lines)){0,65536}+Private-Lines:[ \t]*\d+\s+"
    r"(?:[A-Za-z0-9+/=]{1,128}+(?:\s|\\[nr])+)*+(?:Private-MAC:[ \t]*[0-9a-f]{40,64})?"
)
_BODY: Final = re.compile(r"[A-Za-z0-9+/]{24}")


def _has_body(block: str) -> bool:
    """Whether there is a key between the lines that frame one, which prose about keys quotes, too."""
    return _BODY.search(block) is not None


def _is_password(value: str) -> bool:
    return not is_hollow(value) and not is_reference(value)


BLOCKS: Final[tuple[Rule, ...]] = (
    Rule(
        "gcp_service_account",
        ("-----BEGIN ",),
        rf'(?:(?<="private_key": ")|(?<="private_key":")){_PEM}',
        "the key within the JSON of an account",
        _has_body,
    ),
    Rule("private_key", ("-----BEGIN ",), _PEM, "PEM: RSA, EC, DSA, OpenSSH, PGP, PKCS 8, encrypted", _has_body),
    Rule("putty_key", ("PuTTY-User-Key-File-",), _PUTTY, "frame of PuTTY", _has_body),
    Rule(
        "url_password",
        ("://",),
        r"://[^\s/?#:@\"'<>]{0,128}:(?P<secret>[^\s/\"'<>@]{1,256}(?:@[^\s/\"'<>@]{1,256})?)@(?=[\w\[.-])",
        "user:password@host",
        _is_password,
    ),
)


def list_block_leads() -> Iterator[tuple[bytes, Reader]]:
    """Each anchor, with what reads on from it."""
    for rule in BLOCKS:
        for anchor in rule.anchors:
            yield anchor.lower().encode(), _make_reader(rule)


def _make_reader(rule: Rule) -> Reader:
    pattern = re.compile(rule.pattern)

    def read(subject: Subject, place: int) -> Hit | None:
        match = pattern.match(subject.text, place)
        return rule.read(match) if match else None

    return read
