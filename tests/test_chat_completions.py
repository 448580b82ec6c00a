"""The request side of chat completions: what is read from a body, and that injecting changes nothing else."""

import json
from bisect import bisect_left

import pytest

from proxy.dialects.chat_completions import ChatRequest
from proxy.models import Message

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
        b'{"messages":[],"x":"\xff"}',
        b'{"messages":[{"role":"tool","content":"\xff"}]}',
        b'{"messages":[{"role":"system","content":"\xff"}]}',
        b'{"messages":null,"messages":[]}',
        b'{"messages":[{"role":1,"role":"user"}]}',
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
        b'{"messages":[{"role":"user","content":5,"name":{},"tool_calls":"?"}]}',
        b'{"messages":[{"role":"user","content":[1,{"type":"text","text":"hi"}]}]}',
        b'\n\t{ "messages" : [ ] } \r\n',
        b'{"mess\\u0061ges":[]}',
    ],
    ids=lambda body: repr(body[:50]),
)
def test_oddities_elsewhere_do_not_matter(body: bytes) -> None:
    """Wrong types and odd numbers neither refuse a body nor make it a dialogue."""
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
    assert parse(body).inject("B") == body.replace(b"[", b'[{"role":"system","content":"B"},', 1)


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


ODD: list[object] = [None, "", " \n", 7, [], {}]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], []),
        ([TEA], []),
        ([{"role": "system", "content": "a"}, TEA, {"role": "developer", "content": "b"}], ["a", "b"]),
        ([{"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], ["a\nb"]),
        ([{"role": "system"}, *({"role": "system", "content": odd} for odd in ODD)], []),
        ([{"role": "System", "content": "a"}, RESULT, ANSWER], []),
    ],
)
def test_instructions(messages: list[object], expected: list[str]) -> None:
    """The texts of system and developer messages are instructions, in their order; the rest is none."""
    assert parse(body_of(*messages)).instructions == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
        ({"max_tokens": 5, "max_completion_tokens": "7"}, 5),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": -1}, -1),
        ({"max_tokens": 10**300}, 10**300),
        *(({"max_tokens": odd}, None) for odd in (None, True, 5.5, "5", [5], {"n": 5})),
        ({"max_tokens": "\ud83d", "x": "\ud83d"}, None),
    ],
)
def test_max_tokens(fields: dict[str, object], expected: int | None) -> None:
    """The newer name counts before the older one; what is no integer says nothing."""
    assert parse(body_of(TEA, **fields)).max_tokens == expected
    assert parse(b'{"messages":[],"max_tokens":' + b"9" * 5000 + b"}").max_tokens is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"tools": None, "functions": []}, False),
        ({"tools": [{"type": "function"}]}, True),
        ({"functions": [{"name": "f"}]}, True),
        ({"tool_choice": "none"}, False),
    ],
)
def test_has_tools(fields: dict[str, object], expected: bool) -> None:
    """Tools by either name count, an empty list of them does not."""
    assert parse(body_of(TEA, **fields)).has_tools is expected


def test_options_of_the_deepest_bodies() -> None:
    """Of a body that nests as deep as can be parsed, a caller further down the stack learns the limit or nothing."""

    def nest(depth: int) -> bytes:
        return b'{"messages":[],"max_tokens":1,"x":' + b"[" * depth + b"]" * depth + b"}"

    def ask(request: ChatRequest, depth: int) -> int | None:
        return ask(request, depth - 1) if depth else request.max_tokens

    deepest = bisect_left(range(10_000), True, key=lambda depth: ChatRequest.parse(nest(depth)) is None) - 1
    assert ask(parse(nest(deepest)), 300) in (None, 1)


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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"role":"user","content":"Tea?"}', '{"role":"user","content":"Tea?\\n\\nB"}'),
        ('{"content": " x" ,"role":"user"}', '{"content": " x\\n\\nB" ,"role":"user"}'),
        ('{"role":"user","content":"a\\\\"}', '{"role":"user","content":"a\\\\\\n\\nB"}'),
        ('{"role":"user","content":"a\\ud83d"}', '{"role":"user","content":"a\\ud83d\\n\\nB"}'),
        ('{"role":"user","content":"a","content":"b"}', '{"role":"user","content":"a","content":"b\\n\\nB"}'),
        ('{"role":"user","name":7,"content":"a"}', '{"role":"user","name":7,"content":"a\\n\\nB"}'),
        (
            '{"role":"user","content":[ {"type":"text","text":"a"} ]}',
            '{"role":"user","content":[ {"type":"text","text":"a"} ,{"type":"text","text":"B"}]}',
        ),
        (
            '{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{}}]}',
            '{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{}},'
            '{"type":"text","text":"B"}]}',
        ),
    ],
)
def test_inject_tail(before: str, after: str) -> None:
    """The text ends the user's message of that index, whatever stands around it and looks like it."""
    head = f'{{"x": 1.0, "y": {before} , "messages": [{{"role":"user","content":""}},{before}, '.encode()
    tail = b'{"role":"assistant","content":"Here."}] ,"z":[1E5, ' + b"9" * 400 + b"]}"
    request = parse(head + before.encode() + b" ," + tail)
    assert request.inject_tail({1: "B"}) == head + after.encode() + b" ," + tail


def test_several_tails_at_once() -> None:
    """Each text goes to its own message, in whatever order they are named; positions are the dialogue's."""
    system = {"role": "system", "content": "Be kind."}
    request = parse(body_of(system, TEA, CALL, RESULT, ANSWER, MORE))
    sent = json.loads(request.inject_tail({2: "two", 0: 'on"e'}))["messages"]
    tea, more = {**TEA, "content": 'Tea, please.\n\non"e'}, {**MORE, "content": "More!\n\ntwo"}
    assert sent == [system, tea, CALL, RESULT, ANSWER, more]


def test_replayed_tails_keep_the_prompt_cache() -> None:
    """The next request, with the same texts and one more, begins with all of the last one's messages as they were."""
    first, then = body_of(TEA), body_of(TEA, ANSWER, MORE)
    sent = parse(first).inject_tail({0: "one"})
    assert parse(then).inject_tail({0: "one", 2: "two"}).startswith(sent.removesuffix(b"]}"))


def test_no_tails_no_change() -> None:
    """Without a text the body stays as it is."""
    body = body_of(TEA)
    assert parse(body).inject_tail({}) == body


@pytest.mark.parametrize(("index", "error"), [(2, IndexError), (-1, IndexError), (1, ValueError)])
def test_tails_only_where_the_user_speaks(index: int, error: type[Exception]) -> None:
    """An index beyond the dialogue, one counted from its end and one of the assistant are mistakes of the caller."""
    with pytest.raises(error, match=str(index)):
        parse(body_of(TEA, ANSWER)).inject_tail({0: "fine", index: "B"})


def test_the_last_of_duplicate_fields_counts() -> None:
    """Where a field comes twice, the second is read and written, as JSON parsers do."""
    body = b'{"messages":[{"role":"user","content":"a"}],"messages":[{"role":"user","content":"b","content":"c"}]}'
    request = parse(body)
    assert [m.text for m in request.dialogue] == ["c"]
    first, _, last = request.inject("B").rpartition(b'{"role":"system","content":"B"},')
    assert first + last == body
    assert first.endswith(b',"messages":[')


@pytest.mark.parametrize("odd", [7, {"text": "no"}, [7], [{"type": "text", "text": 7}], [{"type": 7}], True])
def test_an_odd_message_costs_the_others_nothing(odd: object) -> None:
    """A content of a type that is none has no text; a name of one is no name; what stands around them is read."""
    messages: list[dict[str, object]] = [{"role": "user", "content": odd}, {**TEA, "name": odd}]
    system = {"role": "system", "content": "Be kind."}
    request = parse(body_of(*messages, system, user="ada"))
    assert (request.dialogue, request.body_user) == ([Message("user", "Tea, please.")], "ada")
    assert json.loads(request.inject("B"))["messages"] == [*messages, {**system, "content": "Be kind.\n\nB"}]
