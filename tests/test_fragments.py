"""The beginnings of JSON documents."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.fragments import complete


@pytest.mark.parametrize(
    ("head", "completed"),
    [
        (b"", b""),
        (b"{", b"{}"),
        (b'{"a', b"{}"),
        (b'{"a"', b"{}"),
        (b'{"a":', b"{}"),
        (b'{"a":1', b"{}"),
        (b'{"a":1,', b'{"a":1}'),
        (b'{"a":"', b'{"a":""}'),
        (b'{"a":"b', b'{"a":"b"}'),
        (b'{"a":"b"', b'{"a":"b"}'),
        (b'{"a":"b\\', b'{"a":"b"}'),
        (b'{"a":"b\\"', b'{"a":"b\\""}'),
        (b'{"a":"b\\u00e', b'{"a":"b"}'),
        (b'{"a":"b\\\\u00e', b'{"a":"b\\\\u00e"}'),
        ('{"a":"bé'.encode()[:-1], b'{"a":"b"}'),
        (b'{"a":["b", "c', b'{"a":["b", "c"]}'),
        (b'{"a":[{"b":[[], {}, tr', b'{"a":[{"b":[[], {}]}]}'),
        (b'{"a":{"b":{}}, "c', b'{"a":{"b":{}}}'),
        (b'{"a":"[{,:"} {"b":', b'{"a":"[{,:"}'),
        (b"]", b""),
        (b'"a', b""),
    ],
)
def test_what_is_open_is_closed(head: bytes, completed: bytes) -> None:
    """Strings that are values keep their beginning; what may have been cut in any other way goes."""
    assert complete(head) == completed


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def begins(part: Any, whole: Any) -> bool:
    match part, whole:
        case dict(), dict():
            return all(key in whole and begins(value, whole[key]) for key, value in part.items())
        case list(), list():
            return len(part) <= len(whole) and all(begins(*both) for both in zip(part, whole, strict=False))
        case str(), str():
            # Half of an emoji that was written as two escapes is cut, too.
            return whole.startswith(part[:-1] if "\ud800" <= part[-1:] < "\udc00" else part)
        case _:
            return bool(part == whole)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.dictionaries(texts, values, min_size=1, max_size=3), st.booleans(), st.sampled_from([None, 1]))
def test_every_beginning_becomes_a_document(document: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    """Cut anywhere, an object becomes an object again that has nothing which the whole one has not."""
    whole = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    for place in range(1, len(whole)):
        assert begins(json.loads(complete(whole[:place])), document)
    assert complete(whole) == complete(whole + b" trailing") == whole


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.binary(max_size=60)
    | st.text('[]{}",:\\u0 tn\ud83d', max_size=40).map(lambda text: text.encode("utf-8", "ignore"))
)
def test_any_bytes_are_survived(head: bytes) -> None:
    """What is no beginning of an object gives some bytes, and raises nothing."""
    assert isinstance(complete(head), bytes)


def test_only_so_many_tokens_are_looked_at() -> None:
    """A beginning of a million brackets and commas takes milliseconds: all after the first thousands goes."""
    completed = complete(b'{"a":[' + b"[]," * 1_000_000)
    assert json.loads(completed)["a"][:2] == [[], []]
    assert len(completed) < 100_000
