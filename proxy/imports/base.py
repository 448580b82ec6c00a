"""What formats of files have in common: records go in, the lines that every import reads come out."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from proxy.chain import MOST_CHARACTERS
from proxy.dialects.chat_completions import mend_surrogates
from proxy.errors import MemoryProxyError

T = TypeVar("T")

# Of one line. What is longer comes in several, so that neither side holds much of a conversation at once.
LONGEST_TALK: Final = 1 << 20

# Why something is left out on purpose: what it is called, and what is said of it.
REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "system": ("message", "of the system"),
    "tool": ("message", "of tools"),
    "reasoning": ("message", "of reasoning"),
    "hidden": ("message", "hidden from the user"),
    "empty": ("message", "without text"),
    "branch": ("message", "of abandoned branches"),
    "regenerated": ("answer", "made again"),
    "failed": ("request", "failed"),
    "job": ("request", "of the chat application's own"),
    "blank": ("conversation", "without a message to keep"),
    "unremembered": ("conversation", "not to be remembered"),
    "expired": ("memory", "expired"),
    "relation": ("relation", "of a graph"),
}


class FormatError(MemoryProxyError):
    """What was said of a file does not fit it."""


class Record(NamedTuple):
    """One line or element of a file, by its number; or what it has become, in lines as every import reads them.

    With *too_long* there was more of it than can be held, and *data* is empty. *is_relation*: it is from where Mem0 has
    its relations, and not its memories.
    """

    number: int
    data: bytes
    too_long: bool = False
    is_relation: bool = False


class Given(NamedTuple):
    """What is known of a file from outside: whose it is where it does not say so, the tenant, and when what has no date
    of its own was said.
    """

    user: str | None
    tenant: str
    at: datetime


class Said(NamedTuple):
    """One message of a conversation."""

    role: str
    text: str
    at: datetime
    name: str | None = None


class Reader(Protocol):
    """Reads the records of one file, in their order."""

    def read(self, record: Record) -> Iterable[Record]:
        """Lines that *record*, and what was held back until it came, have become.

        Raises:
            ValueError, msgspec.MsgspecError, RecursionError: it cannot be read; the next one can.
        """

    def finish(self) -> Iterable[Record]:
        """What was held back, when there are no more records."""


class Format(NamedTuple):
    """A row of the table of formats.

    *noun*: what a record is called. *recognises*: whether a record, by its members, is of this format. *says_user*: the
    same of whether it says whose it is; None where that is nothing that one would. *skipped* counts by :data:`REASONS`.
    """

    title: str
    noun: str
    recognises: Callable[[Mapping[str, msgspec.Raw]], bool]
    says_user: Callable[[Mapping[str, msgspec.Raw]], bool] | None
    open: Callable[[Given, Counter[str]], Reader]


def decode(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    """What *data* is. Halves of emojis, which JavaScript cuts, become U+FFFD.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: it is no JSON, or of another shape.
    """
    data.decode()  # msgspec does not check what it skips
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if (mended := mend_surrogates(data)) == data:
            raise
        return decoder.decode(mended)


def read_date(value: Any) -> datetime | None:
    """The date that *value* is: ISO 8601, or a number of seconds, milli-, micro- or nanoseconds since 1970."""
    try:
        if isinstance(value, str):
            text = value.strip()
            date = datetime.fromisoformat(text) if not text.replace(".", "", 1).isdigit() else read_date(float(text))
            return date and (date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC))
        if isinstance(value, int | float) and value and math.isfinite(value):  # 0 is no date that a message has
            seconds = value
            while abs(seconds) > 1e11:  # the year 5138; in milliseconds 1973
                seconds /= 1000
            return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def write_talk(
    user_id: str, conversation_id: str, said: Sequence[Said], *, number: int, first_index: int = 0
) -> Iterator[Record]:
    """A conversation, or from *first_index* on the rest of one, as one line or several."""
    pieces: list[dict[str, Any]] = []
    size = 0
    for index, one in enumerate(said, first_index):
        text = one.text[:MOST_CHARACTERS]
        if size and size + len(text) > LONGEST_TALK:
            yield _write_piece(user_id, conversation_id, pieces, number, index - len(pieces))
            pieces, size = [], 0
        name = {} if one.name is None else {"name": one.name}
        pieces.append({"role": one.role, "content": text, **name, "created_at": one.at})
        size += len(text)
    if pieces:
        yield _write_piece(user_id, conversation_id, pieces, number, first_index + len(said) - len(pieces))


def _write_piece(
    user_id: str, conversation_id: str, messages: Sequence[Mapping[str, Any]], number: int, first_index: int
) -> Record:
    line = {"user_id": user_id, "conversation_id": conversation_id, "started_at": messages[0]["created_at"]}
    place = {"first_index": first_index} if first_index else {}
    return Record(number, msgspec.json.encode({**line, **place, "messages": messages}) + b"\n")
