"""From what a model wrote to the facts in it: lenient about what stands around them, strict about each."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from proxy.extraction.base import LONGEST_FACT, LONGEST_QUOTE, LONGEST_TOPIC, Item

_THOUGHTS: Final = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPENING: Final = re.compile(r"[\[{]")
_LIST: Final = re.compile(r'"facts"\s*:\s*\[')
_BETWEEN: Final = re.compile(r"[\s,]*")
_TOPIC: Final = re.compile(r"[^\w:]+")
# Prose has braces, too; each costs a try.
_MOST_TRIES: Final = 20

_decoder: Final = json.JSONDecoder()


def parse_items(text: str) -> list[Item | None] | None:
    """The facts in *text*, None in place of what is none; or None if *text* has no list of facts at all.

    Of a list that breaks off, the complete ones.
    """
    text = _THOUGHTS.sub("", text)
    found = _find_list(text)
    return None if found is None else [_read_item(value) for value in found]


def _find_list(text: str) -> list[Any] | None:
    for opening in islice(_OPENING.finditer(text), _MOST_TRIES):
        value = _decode(text, opening.start())
        if value is not None and (found := _as_list(value[0])) is not None:
            return found
    broken = _LIST.search(text) or re.match(r"\s*(?:```\w*\s*)?\[", text)
    found = list(_salvage(text, broken.end())) if broken else []
    # Of a list that breaks off within its first fact nothing is known.
    return found if any(isinstance(part, dict) for part in found) else None


def _as_list(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        if "text" in value and "quote" in value:
            return [value]
        value = value.get("facts")
    if not isinstance(value, list):
        return None
    # "[3]" and "[]" within prose are no list of facts; an empty list is one only where nothing else follows.
    return value if not value or any(isinstance(part, dict) for part in value) else None


def _salvage(text: str, place: int) -> Iterator[Any]:
    """The complete objects of a list that begins before *place*."""
    while (value := _decode(text, _skip(text, place))) is not None:
        found, place = value
        yield found


def _skip(text: str, place: int) -> int:
    between = _BETWEEN.match(text, place)
    return between.end() if between else place


def _decode(text: str, place: int) -> tuple[Any, int] | None:
    """One JSON value at *place*, and where it ends."""
    try:
        return _decoder.raw_decode(text, place)
    except (ValueError, RecursionError):
        return None


def _read_item(value: Any) -> Item | None:
    try:
        item = msgspec.convert(value, Item, strict=False)
        (item.text + item.quote + item.topic).encode()  # half a surrogate pair cannot be stored
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
    text = " ".join(item.text.split())
    if not text or len(text) > LONGEST_FACT or not 0 < len(item.quote.strip()) <= LONGEST_QUOTE:
        return None
    topic = _TOPIC.sub("_", item.topic.strip().lower()).strip("_:")[:LONGEST_TOPIC]
    return msgspec.structs.replace(item, text=text, topic=topic)
