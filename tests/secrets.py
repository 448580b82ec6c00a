"""Invented secrets of every kind, planted in what people, programs and logs write.

``data/secrets.json`` holds each in parts that are no secret one by one, so that nobody's scanner takes the file for a
leak; they are put together here, when a test runs.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

# Where a token that tells itself may stand; the others come with texts of their own.
TEXTS: Final = (
    "I pasted {} into the wrong window, what now?",
    "can you check whether ({}) still works",
    'client = Client("{}", timeout=5)',
    "export THE_TOKEN={}",
    "2024-02-03T10:11:12Z ERROR request failed: {} was rejected (401)",
    'log line: \\n{}\\n"done"',
    "我的密钥是{}，请保密",
)


class Planted(NamedTuple):
    """A *text* of a user in which *secret* stands, which is one of this *kind*."""

    kind: str
    text: str
    secret: str


def plant_secrets() -> Iterator[Planted]:
    """Every secret in every text that it goes with."""
    path = Path(__file__).parent / "data" / "secrets.json"
    for entry in json.loads(path.read_text("utf-8")):
        secret = "".join(entry["parts"])
        for text in entry.get("texts", TEXTS):
            yield Planted(entry["kind"], text.replace("{}", secret, 1), secret)
