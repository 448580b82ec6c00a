"""Arrays of any length, element by element."""

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import MemoryProxyError
from proxy.imports import splitting
from proxy.imports.splitting import CutShortError, Element, split

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

FEW = settings(deadline=None, derandomize=True, max_examples=40)


class Trickle:
    """A file that gives *size* bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file, self._size = io.BytesIO(data), size

    def read(self, _: int, /) -> bytes:
        return self._file.read(self._size)


def read(data: bytes, *keys: str, size: int = 1000, longest: int = 10_000) -> list[Element]:
    return list(split(Trickle(data, size), keys, longest=longest))


@FEW
@given(st.lists(VALUES), st.integers(1, 30), st.booleans(), st.sampled_from([None, 1]))
def test_elements_are_those_of_the_array(values: list[Any], size: int, ascii_only: bool, indent: int | None) -> None:
    """Whatever is in them and however few bytes come at a time."""
    data = json.dumps(values, ensure_ascii=ascii_only, indent=indent).encode()
    assert [json.loads(one.data) for one in read(data, size=size)] == values


@FEW
@given(st.dictionaries(st.text(), VALUES), st.lists(VALUES), st.integers(1, 30), st.booleans())
def test_elements_are_those_of_a_member(rest: dict[str, Any], values: list[Any], size: int, first: bool) -> None:
    """Whatever else is in the object, before it or behind it."""
    rest.pop("results", None)
    members = {"results": values, **rest} if first else {**rest, "results": values}
    found = read(json.dumps(members).encode(), "results", size=size)
    assert [(one.key, json.loads(one.data)) for one in found] == [("results", value) for value in values]


@FEW
@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:\\a 1', max_size=60).map(str.encode), st.integers(1, 9))
def test_no_bytes_stop_it(data: bytes, size: int) -> None:
    """It comes to an end with any bytes, or says that they are no JSON."""
    try:
        found = read(b"[" + data, "a", size=size)
    except MemoryProxyError:
        return
    assert sum(len(one.data) for one in found) <= len(data)


def test_several_arrays_follow_one_another() -> None:
    """As when the files of an export are put together."""
    found = [one.data for one in read(b'[1, 2]\n[{"a": 3}] {"results": [4]}', "results")]
    assert found == [b"1", b"2", b'{"a": 3}', b"4"]
    assert [one.data for one in read(b'{"a": {}}\n {"b": []}')] == [b'{"a": {}}', b'{"b": []}']


def test_what_is_no_json_stops_nothing() -> None:
    """An element that nobody can read is one; those around it are as they are."""
    found = [one.data for one in read(b'[{"a": 1}, {"b": tru}, oops, {"c": "\\x"}, {"d": 2}]')]
    assert found == [b'{"a": 1}', b'{"b": tru}', b"oops", b'{"c": "\\x"}', b'{"d": 2}']


@pytest.mark.parametrize("size", [7, 1000])
def test_an_element_that_is_too_long_is_not_held(size: int) -> None:
    """It is empty and says so; the next one is whole."""
    long = json.dumps({"text": "x" * 5000, "more": ["y" * 5000]}).encode()
    found = read(b"[1," + long + b"," + long + b',{"b": 2}]', size=size, longest=3000)
    assert [(one.data, one.too_long) for one in found] == [
        (b"1", False),
        (b"", True),
        (b"", True),
        (b'{"b": 2}', False),
    ]


@pytest.mark.parametrize("end", range(1, 24))
def test_what_is_cut_short_is_told(end: int) -> None:
    """Wherever it ends."""
    with pytest.raises(CutShortError):
        read(b'{"results": [1, {"a": "b"}]}'[:end], "results", size=5)


def test_what_follows_the_json_is_told() -> None:
    """Something that is neither an array nor an object."""
    with pytest.raises(MemoryProxyError, match="behind the end"):
        read(b"[1] oops")


def test_memory_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an array of many megabytes a piece is held, and the element that is read."""
    monkeypatch.setattr(splitting, "PIECE", 10)
    element = b'{"a": "' + b"x" * 100 + b'"}'
    held: list[int] = []

    class Watched(Trickle):
        def read(self, _: int, /) -> bytes:
            held.append(len(text._held))
            return super().read(10)

    text = splitting._Text(Watched(b"[" + b",".join([element] * 50) + b"]", 10), 1000)
    text.require(splitting._SPACE)
    text.take()
    assert len(list(splitting._split_array(text, ""))) == 50
    assert max(held) < 2 * len(element)
