"""The request side of chat completions: what is read from a body, and that injecting changes nothing else."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.chat_completions import ChatRequest
from proxy.models import Message

BLOCK = 'Known about the user:\n- likes "tea" \\ é 😀\n'
TEA = {"role": "user", "content": "Tea, please."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "18 °C"}


def body_of(*messages: object, **fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": messages, **fields}).encode()


def parse(body: bytes) -> ChatRequest:
    request = ChatRequest.parse(body)
    assert request is not None
    return request


def said(*messages: object) -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in parse(body_of(*messages)).dialogue]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"null",
        b"[]",
        b'"messages"',
        b"{}",
        b'{"messages":null}',
        b'{"messages":{}}',
        b'{"messages":"hi"}',
        b'{"messages":["hi"]}',
        b'{"messages":[null]}',
        b'{"messages":[{"content":"no role"}]}',
        b'{"messages":[{"role":1}]}',
        b'{"messages":[]} trailing',
        b'{"messages":[],"x":NaN}',
        b'{"messages":[],"x":"raw\nnewline"}',
        b'{"messages":[],"x":"\\ud83d\0\0"}',
        b'{"messages":[],"x":"\\ud83d',
        b'\xef\xbb\xbf{"messages":[]}',
        '{"messages":[]}'.encode("utf-16"),
        b'{"messages":[{"role":"\xff"}]}',
        b'{"messages":[{"role":"user","content":"\xff"}]}',
        b'{"messages":[{"role":"user","content":"\xed\xa0\xbd"}]}',
        b'{"messages":[{"role":"user","content":[{"type":"text","text":"\xff"}]}]}',
        b'{"messages":[{"role":"user","content":"hi","name":"\xff"}]}',
        b'{"messages":[],"user":"\xff"}',
        b'{"messages":' + b"[" * 200_000,
        b'{"messages":[],"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
    ids=lambda body: repr(body[:50]),
)
def test_unreadable_bodies_are_refused(body: bytes) -> None:
    """What is no readable chat request is None, never an exception."""
    assert ChatRequest.parse(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[],"x":' + b"9" * 400 + b"}",
        b'{"messages":[],"x":1e999,"stream":"yes","tools":7}',
        b'{"messages":[],"x":"\xff"}',
        b'{"messages":[{"role":"tool","content":"\xff"}]}',
        b'{"messages":[{"role":"system","content":"\xff"}]}',
        b'{"messages":[{"role":"user","content":5,"name":{},"tool_calls":"?"}]}',
        b'{"messages":[{"role":"user","content":[1,{"type":"text","text":"hi"}]}]}',
        b'\n\t{ "messages" : [ ] } \r\n',
        b'{"mess\\u0061ges":[]}',
    ],
    ids=lambda body: repr(body[:50]),
)
def test_oddities_elsewhere_do_not_matter(body: bytes) -> None:
    """Wrong types and bytes in fields that are not read neither refuse a body nor make it a dialogue."""
    request = parse(body)
    assert request.dialogue == request.new == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"user": "ada"}, "ada"),
        ({"user": "ada", "safety_identifier": "bob"}, "ada"),
        ({"user": "", "safety_identifier": "bob"}, "bob"),
        ({"user": None, "safety_identifier": "bob"}, "bob"),
        ({"user": 7, "safety_identifier": ["bob"]}, None),
        ({"user": 'a"/é😀\x00'}, 'a"/é😀\x00'),
        ({"user": "ada", "x": "\ud83d"}, "ada"),
        ({"user": "ada\ud83d"}, None),
        ({"user": "ada\ud83d", "safety_identifier": "bob"}, "bob"),
    ],
)
def test_body_user(fields: dict[str, object], expected: str | None) -> None:
    """The body's user is its user field, else its safety identifier; half an emoji is in no id."""
    assert parse(body_of(TEA, **fields)).body_user == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "hi"}, "hi"),
        ({"role": "user", "content": " hi\n"}, " hi\n"),
        ({"role": "assistant", "content": "hi", "tool_calls": None, "function_call": None}, "hi"),
        ({"role": "assistant", "content": "hi", "tool_calls": [], "refusal": None, "audio": None}, "hi"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "a"}]}, "a"),
        ({"role": "user", "content": [{"type": "text", "text": None}, {"type": "text", "text": "a"}]}, "a"),
        ({"role": "user", "content": "cut \ud83d"}, "cut \ufffd"),
        ({"role": "user", "content": "whole \U0001f600, \ude00\ud83d"}, "whole \U0001f600, \ufffd\ufffd"),
        (
            {"role": "user", "content": "no escape: \\ud83d, an escape: \\\ud83d"},
            "no escape: \\ud83d, an escape: \\\ufffd",
        ),
    ],
)
def test_what_has_text_is_dialogue(message: dict[str, object], expected: str) -> None:
    """Strings and text parts are what was said, with halves of emojis replaced."""
    assert said(message) == [(message["role"], expected)]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "user", "content": ""},
        {"role": "user", "content": " \n"},
        {"role": "user", "content": []},
        {"role": "user", "content": {"text": "hi"}},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
        {"role": "user", "content": [{"type": "file", "text": "hi"}]},
        {"role": "system", "content": "hi"},
        {"role": "developer", "content": "hi"},
        {"role": "tool", "content": "hi"},
        {"role": "function", "content": "hi"},
        {"role": "User", "content": "hi"},
        {"role": "assistant", "content": "Let me look.", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "Let me look.", "function_call": {"name": "f"}},
        {"role": "assistant", "content": None, "refusal": "no"},
    ],
)
def test_what_is_no_dialogue(message: dict[str, object]) -> None:
    """Instructions, tools, steps and what has no text are not said by anybody."""
    assert said(message) == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (rb"\uD83D\uDE00\uD83d", "😀\ufffd"),
        (rb"\uDE00\uD83D\uD83D\uDE00", "\ufffd\ufffd😀"),
        (rb"\\\uD83D\\uD83D\\\\\uDE00", "\\\ufffd\\uD83D\\\\\ufffd"),
        (rb"\n\ud83d\u005cud83d", "\n\ufffd\\ud83d"),
    ],
)
def test_half_emojis_in_any_spelling(written: bytes, expected: str) -> None:
    """Only true escapes of halves are replaced, and only in what is read."""
    body = b'{"messages":[{"role":"user","content":"' + written + b'"}]}'
    assert [m.text for m in parse(body).dialogue] == [expected]
    assert take_out(body, parse(body).inject("B")) == body


def test_speakers_have_names() -> None:
    """A name is kept if it is a string that is not empty."""
    names = ["Ada", "", None, 7]
    request = parse(body_of(*({**TEA, "name": name} for name in names)))
    assert request.dialogue == [Message("user", "Tea, please.", name) for name in ("Ada", None, None, None)]


ANSWER = {"role": "assistant", "content": "Here."}
MORE = {"role": "user", "content": "More!"}


@pytest.mark.parametrize(
    ("messages", "first_new", "new", "is_tool_step"),
    [
        ([], 0, [], False),
        ([{"role": "system", "content": "s"}], 0, [], False),
        ([TEA], 0, ["Tea, please."], False),
        ([TEA, MORE], 0, ["Tea, please.", "More!"], False),
        ([TEA, ANSWER, MORE], 2, ["More!"], False),
        ([TEA, ANSWER, {"role": "system", "content": "s"}, MORE], 2, ["More!"], False),
        ([TEA, ANSWER], 2, [], False),
        ([TEA, CALL, RESULT], 0, ["Tea, please."], True),
        ([TEA, ANSWER, MORE, CALL, RESULT, CALL, RESULT], 2, ["More!"], True),
        ([TEA, CALL, RESULT, ANSWER, MORE], 2, ["More!"], False),
        ([TEA, CALL, RESULT, MORE], 0, ["Tea, please.", "More!"], False),
        ([TEA, {"role": "function", "name": "f", "content": "1"}], 0, ["Tea, please."], True),
    ],
)
def test_what_is_new(messages: list[object], first_new: int, new: list[str], is_tool_step: bool) -> None:
    """New is what the user said after the last finished answer; a tool loop belongs to its question."""
    request = parse(body_of(*messages))
    assert (request.first_new, [m.text for m in request.new]) == (first_new, new)
    assert request.is_tool_step is is_tool_step


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[{"role":"system","content":"Be kind."}]', '[{"role":"system","content":"Be kind.\\n\\nB"}]'),
        ('[{"role":"developer","content":""}]', '[{"role":"developer","content":"B"}]'),
        ('[{"content": "x" ,"role":"system"}]', '[{"content": "x\\n\\nB" ,"role":"system"}]'),
        ('[{"role":"system","content":"a\\\\"}]', '[{"role":"system","content":"a\\\\\\n\\nB"}]'),
        ('[{"role":"system","content":"\\ud83d"}]', '[{"role":"system","content":"\\ud83d\\n\\nB"}]'),
        ('[{"role":"system","content":"a","content":"b"}]', '[{"role":"system","content":"a","content":"b\\n\\nB"}]'),
        ('[{"role":"system","content":[]}]', '[{"role":"system","content":[{"type":"text","text":"B"}]}]'),
        ('[{"role":"system","content":[ \n]}]', '[{"role":"system","content":[ \n{"type":"text","text":"B"}]}]'),
        ('[{"role":"system","content":[{}]}]', '[{"role":"system","content":[{},{"type":"text","text":"B"}]}]'),
        ("[]", '[{"role":"system","content":"B"}]'),
        ("[ ]", '[{"role":"system","content":"B"} ]'),
        ('[{"role":"user"}]', '[{"role":"system","content":"B"},{"role":"user"}]'),
        ('[{"role":"system","content":null}]', '[{"role":"system","content":"B"},{"role":"system","content":null}]'),
        ('[{"role":"system"}]', '[{"role":"system","content":"B"},{"role":"system"}]'),
        (
            '[{"role":"system","content":7},{"role":"user","content":"same"},{"role":"developer","content":"same"}]',
            '[{"role":"system","content":7},{"role":"user","content":"same"},{"role":"developer","content":"same\\n\\nB"}]',
        ),
    ],
)
def test_inject(before: str, after: str) -> None:
    """The block ends the first usable instructions, or becomes the first message."""
    # An equal text ahead of the messages must not be mistaken for them.
    head, tail = f'{{"x": 1.0, "y": {before} , "messages": '.encode(), b' ,"z":[1E5, ' + b"9" * 400 + b"]}"
    assert parse(head + before.encode() + tail).inject("B") == head + after.encode() + tail


def test_the_last_of_duplicate_fields_counts() -> None:
    """Where a field comes twice, the second is read and written, as JSON parsers do."""
    body = b'{"messages":[{"role":"user","content":"a"}],"messages":[{"role":"user","content":"b","content":"c"}]}'
    request = parse(body)
    assert [m.text for m in request.dialogue] == ["c"]
    first, _, last = request.inject("B").rpartition(b'{"role":"system","content":"B"},')
    assert first + last == body
    assert first.endswith(b',"messages":[')


# Whole bodies, as clients might write them, against the standard library as oracle.


class Number(str):
    """Digits to be written as they are."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object, with duplicate keys if need be."""


texts = st.text(st.characters(codec=None), max_size=12) | st.sampled_from(
    ["", " ", "\\", '"', "\\ud83d", "\ud83d", "😀"]
)
numbers = st.sampled_from(["0", "-0", "1.0", "1E+5", "-1.50e-3", "9" * 400, "18446744073709551616"]).map(Number)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(texts, inner), max_size=3).map(Pairs),
    max_leaves=8,
)
parts = st.lists(
    st.tuples(st.just(("type", "text")), st.tuples(st.just("text"), texts)).map(Pairs)
    | st.tuples(st.just(("type", "image_url")), st.tuples(st.just("image_url"), values)).map(Pairs),
    max_size=3,
)
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
known = (
    st.tuples(st.just("content"), st.none() | texts | parts | numbers)
    | st.tuples(st.just("tool_calls"), st.none() | st.lists(values, max_size=1))
    | st.tuples(st.just("function_call"), st.none() | st.just(Pairs([("name", "f")])))
)
extra = st.tuples(texts.map("x_".__add__), values)
messages = st.tuples(
    st.lists(known | extra, max_size=2),
    roles,
    st.lists(st.tuples(st.just("content"), texts | parts) | extra, max_size=2),
).map(lambda fields: Pairs([*fields[0], ("role", fields[1]), *fields[2]]))
bodies = st.tuples(
    st.lists(extra | st.tuples(st.just("messages"), st.lists(messages, max_size=2)), max_size=2),
    st.lists(messages, max_size=5),
    st.lists(extra | st.tuples(st.just("user"), texts), max_size=2),
).map(lambda fields: Pairs([*fields[0], ("messages", fields[1]), *fields[2]]))
blanks = st.sampled_from(["", "", " ", "\n  ", "\r\n\t"])


def write(value: Any, *, blank: str, ascii_only: bool) -> str:
    """*value* as JSON, with *blank* wherever white space is allowed."""
    inside = partial(write, blank=blank, ascii_only=ascii_only)
    match value:
        case Number():
            return str(value)
        case Pairs():
            fields = (f"{blank}{inside(key)}{blank}:{blank}{inside(inner)}" for key, inner in value)
            return f"{{{f'{blank},'.join(fields)}{blank}}}"
        case list():
            return f"[{f'{blank},'.join(blank + inside(inner) for inner in value)}{blank}]"
        case _:
            return json.dumps(value, ensure_ascii=ascii_only)


def encode(tree: Pairs, blank: str, ascii_only: bool) -> bytes:
    try:
        return write(tree, blank=blank, ascii_only=ascii_only).encode()
    except UnicodeEncodeError:  # lone surrogates exist as escapes only
        return write(tree, blank=blank, ascii_only=True).encode()


written = st.builds(encode, bodies, blanks, st.booleans())


def load(body: bytes) -> Any:
    """Numbers as they are written, so that they compare digit by digit."""
    return json.loads(body, parse_int=Number, parse_float=Number)


def inject_by_hand(body: Any, block: str) -> None:
    for message in body["messages"]:
        if message["role"] in ("system", "developer"):
            content = message.get("content")
            if isinstance(content, list):
                content.append({"type": "text", "text": block})
                return
            if isinstance(content, str) and not isinstance(content, Number):
                message["content"] = f"{content}\n\n{block}" if content else block
                return
    body["messages"].insert(0, {"role": "system", "content": block})


def read_by_hand(message: Any) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(p["text"] for p in content if p["type"] == "text" and p["text"])
    if message["role"] == "assistant" and (message.get("tool_calls") or message.get("function_call")):
        return ""
    if message["role"] not in ("user", "assistant") or isinstance(content, Number):
        return ""
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in content or "")


def take_out(body: bytes, injected: bytes) -> bytes:
    """*injected* without as many bytes as it is longer, at the place where the two begin to differ."""
    place = next((i for i, (ours, theirs) in enumerate(zip(injected, body, strict=False)) if ours != theirs), len(body))
    return injected[:place] + injected[place + len(injected) - len(body) :]


@settings(deadline=None, derandomize=True, max_examples=400)
@given(written)
def test_inject_changes_one_message_only(body: bytes) -> None:
    """For any body the result is the body with one insertion, which JSON parsers see in one message alone."""
    injected = parse(body).inject(BLOCK)
    expected = load(body)
    inject_by_hand(expected, BLOCK)
    assert load(injected) == expected
    assert take_out(body, injected) == body


@settings(deadline=None, derandomize=True, max_examples=400)
@given(written)
def test_dialogue_is_what_json_says(body: bytes) -> None:
    """For any body the dialogue has the texts that a JSON parser finds."""
    found = [(m["role"], text) for m in load(body)["messages"] if (text := read_by_hand(m)).strip()]
    assert [(m.role, m.text) for m in parse(body).dialogue] == found


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(written))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(body)))
        body[place : place + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"\\", b'"', b"\\ud8"])
        )
    return bytes(body)


@settings(deadline=None, derandomize=True, max_examples=600)
@given(st.binary(max_size=64) | damaged())
def test_any_bytes_are_survived(body: bytes) -> None:
    """Whatever the bytes, nothing raises, and what is injected can be taken out again."""
    request = ChatRequest.parse(body)
    if request is not None:
        assert len(request.new) <= len(request.dialogue)
        assert request.is_tool_step in (True, False)
        assert take_out(body, request.inject(BLOCK)) == body
