"""Whatever is in a file that somebody imports: a reason for what cannot be read, and an end."""

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import Redaction
from proxy.errors import MemoryProxyError
from proxy.imports import FORMATS
from proxy.imports.files import open_source
from proxy.imports.pieces import Pieces
from proxy.redaction import Redactor
from proxy.remember.lines import parse
from tests.imported import node, request, talk, tree

FEW: Final = settings(deadline=None, derandomize=True, max_examples=100)
REDACTOR: Final = Redactor(Redaction())
PICTURE: Final = {"content_type": "image_asset_pointer", "asset_pointer": "x"}
SAMPLES: Final[list[Any]] = [
    talk("My dog is called Rex.", "A fine name."),
    tree(node("a", None), node("b", "a", "user", "x", PICTURE), node("c", "a", "tool", "y"), current="b"),
    {"id": "m", "memory": "Sings", "user_id": "ada", "created_at": "2024-05-01T10:00:00Z", "metadata": {}},
    request("My dog is called Rex.", "Nice.", "I ski.", answer="So do I.", metadata={"conversation_id": "c"}),
    {"request": {"body": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}}, "response": []},
    {"messages": [{"role": "user", "content": "x"}], "choices": [{"index": 0, "message": {"content": "y"}}]},
    {"user_id": "ada", "conversation_id": "c", "started_at": "2024-05-01T10:00:00Z", "messages": []},
]
ODD: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\ud83d", "\ue200entity\ue202[1]\ue201", "{}", "[", 10**400, -1, 1e300, "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def list_places(value: Any, *place: Any) -> Iterator[tuple[Any, ...]]:
    """Ways to all that is in *value*."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        yield (*place, key)
        yield from list_places(inner, *place, key)


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """A good record in which something is as nobody would expect it."""
    record = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(list_places(record))
        if not places:
            break
        *way, key = draw(st.sampled_from(places))
        holder = record
        for step in way:
            holder = holder[step]
        holder[key] = draw(ODD)
    return record


def check(path: Path, data: bytes, format_name: str | None) -> None:
    """Everything that comes out is a line that an import can read, or refuses with a reason."""
    path.write_bytes(data)
    with open_source(str(path)) as source, suppress(MemoryProxyError):
        pieces = Pieces(source, format_name=format_name, user="ada", tenant="")
        for piece in pieces:
            assert len(piece.lines) == len(piece.numbers)
            assert all(reason for _, reason in piece.errors)
            assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in piece.lines)
            parsed = parse(piece.lines, REDACTOR)
            assert all(reason for _, reason in parsed.errors)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "file"


@FEW
@given(spoilt(), st.sampled_from([None, *FORMATS]), st.booleans())
def test_records_that_nobody_would_expect(path: Path, record: Any, format_name: str | None, in_array: bool) -> None:
    """Of every format, as a line and in an array, beside good ones."""
    records = [SAMPLES[0], record, SAMPLES[2], SAMPLES[3]]
    data = json.dumps(records) if in_array else "\n".join(map(json.dumps, records))
    check(path, data.encode(), format_name)


@FEW
@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\nesult 1', max_size=80).map(str.encode))
@pytest.mark.parametrize("start", [b"", b"[", b'{"results": [', b"PK\x03\x04", b"\x1f\x8b", b"\xef\xbb\xbf"])
def test_bytes_that_nobody_would_expect(path: Path, start: bytes, data: bytes) -> None:
    """Behind whatever makes a file look like something."""
    check(path, start + data, None)


@pytest.mark.parametrize("format_name", [None, *FORMATS])
def test_what_is_nested_too_deeply_is_named(path: Path, format_name: str | None) -> None:
    """And stops nothing."""
    deep = b'{"mapping":' * 3000 + b"1" + b"}" * 3000
    check(
        path,
        b"[" + deep + b"," + json.dumps(SAMPLES[0]).encode() + b"," + b"[" * 9000 + b"]" * 9000 + b"]",
        format_name,
    )
