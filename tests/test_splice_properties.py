"""Whole request bodies, as clients might write and networks might damage them, against the standard library."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.dialects.chat_completions import ChatRequest

BLOCK = 'Known about the user:\n- likes "tea" \\ é 😀\u2028\n'


class Number(str):
    """Digits to be written, and compared, as they are."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object, with duplicate keys if need be."""


texts = st.text(st.characters(codec=None), max_size=12) | st.sampled_from(
    ["", " ", "\\", '"', "\\ud83d", "\ud83d", "\ude00", "😀", "\u2028", "\x00\x1f\x7f", "messages", "user", "/"]
)
numbers = st.sampled_from(
    ["0", "-0", "1.0", "1E+5", "-1.50e-3", "1e400", "-1e-400", "9" * 400, "18446744073709551616", "0.10"]
).map(Number)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(texts, inner), max_size=3).map(Pairs),
    max_leaves=8,
)
text_parts = st.tuples(st.just(("type", "text")), st.tuples(st.just("text"), texts)).map(Pairs)
image_parts = st.tuples(st.just(("type", "image_url")), st.tuples(st.just("image_url"), values)).map(Pairs)
contents = st.none() | texts | st.lists(text_parts | image_parts | values, max_size=3) | values
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "System", ""])
fields = (
    st.tuples(st.just("content"), contents)
    | st.tuples(st.just("role"), roles)
    | st.tuples(st.just("name"), texts | values)
    | st.tuples(st.sampled_from(["tool_calls", "function_call"]), st.none() | values)
    | st.tuples(texts, values)
)
messages = st.tuples(
    st.lists(fields, max_size=2), roles, st.lists(st.tuples(st.just("content"), contents) | fields, max_size=2)
).map(lambda drawn: Pairs([*drawn[0], ("role", drawn[1]), *drawn[2]]))
# Nearly always messages; sometimes what is none.
conversations = st.lists(messages, max_size=5) | st.lists(messages | values, max_size=3) | values
extras = st.tuples(texts.filter("messages".__ne__), values) | st.tuples(
    st.sampled_from(["user", "safety_identifier"]), texts | values
)
bodies = st.tuples(
    st.lists(extras | st.tuples(st.just("messages"), conversations), max_size=2),
    st.lists(st.tuples(st.just("messages"), conversations), min_size=0, max_size=1),
    st.lists(extras, max_size=2),
).map(lambda drawn: Pairs([*drawn[0], *drawn[1], *drawn[2]]))
chats = st.tuples(st.lists(extras, max_size=2), st.lists(messages, max_size=5), st.lists(extras, max_size=2)).map(
    lambda drawn: Pairs([*drawn[0], ("messages", drawn[1]), *drawn[2]])
)

turns = st.tuples(st.sampled_from(["user", "user", "assistant"]), texts | st.lists(text_parts, max_size=2)).map(
    lambda drawn: Pairs([("role", drawn[0]), ("content", drawn[1])])
)
dialogues = st.tuples(st.lists(extras, max_size=2), st.lists(turns | messages, max_size=6)).map(
    lambda drawn: Pairs([*drawn[0], ("messages", drawn[1])])
)

ESCAPES = {"/": "\\/", "\n": "\\n", "\t": "\\t"}


class Writer:
    """Writes values as JSON, choosing anew wherever there are several ways to write one."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._blanks = draw(st.lists(st.sampled_from(["", "", "", " ", "\n  ", "\r\n\t"]), min_size=1, max_size=5))
        self._escapes_all = draw(st.booleans())
        self._spells = draw(st.integers(0, 7))  # every so many characters are spelled as \u escapes
        self._written = 0

    def write(self, value: Any) -> str:
        match value:
            case Number():
                return self._pad(str(value))
            case Pairs():
                pairs = ",".join(f"{self._pad(self._string(k))}:{self.write(inner)}" for k, inner in value)
                return self._pad("{" + (pairs or self._blank()) + "}")
            case list():
                return self._pad("[" + (",".join(self.write(inner) for inner in value) or self._blank()) + "]")
            case str():
                return self._pad(self._string(value))
            case _:
                return self._pad(json.dumps(value))

    def _pad(self, text: str) -> str:
        return self._blank() + text + self._blank()

    def _blank(self) -> str:
        self._written += 1
        return self._blanks[self._written % len(self._blanks)]

    def _string(self, text: str) -> str:
        return '"' + "".join(self._character(c) for c in text) + '"'

    def _character(self, character: str) -> str:
        self._written += 1
        if self._spells and self._written % 8 < self._spells and character < "\ud800":
            return (
                f"\\u{ord(character):04X}" if self._spells % 2 else ESCAPES.get(character, f"\\u{ord(character):04x}")
            )
        is_lone = "\ud800" <= character <= "\udfff"  # exists as an escape only
        return json.dumps(character, ensure_ascii=self._escapes_all or is_lone)[1:-1]


@st.composite
def written(draw: st.DrawFn, trees: st.SearchStrategy[Any]) -> bytes:
    return Writer(draw).write(draw(trees)).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(written(chats | bodies)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(body)))
        body[place : place + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3)
            | st.sampled_from(
                [b"\\", b'"', b"\\ud8", b"\\u", b"\\x", b"\n", b"0", b"-", b".", b"e", b",", b"NaN", b"//"]
            )
            | st.sampled_from(
                [b"\xef\xbb\xbf", b"\xed\xa0\xbd", b"\xc3", b"\x00", b"}", b"]", b"{", b"[", b":", b"true"]
            )
        )
    return bytes(body)


def refuse(constant: str) -> Any:
    raise ValueError(constant)


class Fields(dict[str, Any]):
    """An object as parsers see it, with the last of duplicate fields; *every* has them all."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def every(self, key: str) -> list[Any]:
        return [value for name, value in self._pairs if name == key]


def load(body: bytes) -> Any:
    """Strictly; numbers as they are written, so that they compare digit by digit. ValueError for what is no JSON."""
    text = body.decode()
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=refuse, object_pairs_hook=Fields)


def is_chat(body: bytes) -> bool:
    try:
        value = load(body)
    except (ValueError, RecursionError):
        return False
    # Where a field comes twice with different types, upstream may see another body than we do.
    every = value.every("messages") if isinstance(value, Fields) else []
    return bool(every) and all(isinstance(messages, list) and all(map(is_message, messages)) for messages in every)


def is_message(value: Any) -> bool:
    roles = value.every("role") if isinstance(value, Fields) else []
    return bool(roles) and all(map(is_string, roles))


def is_string(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def inject_by_hand(body: Any) -> None:
    for message in body["messages"]:
        if message["role"] in ("system", "developer") and extend_by_hand(message, BLOCK):
            return
    body["messages"].insert(0, {"role": "system", "content": BLOCK})


def extend_by_hand(message: Any, text: str) -> bool:
    content = message.get("content")
    if isinstance(content, list):
        content.append({"type": "text", "text": text})
    elif is_string(content):
        message["content"] = f"{content}\n\n{text}" if content else text
    else:
        return False
    return True


def inject_tail_by_hand(body: Any, tails: dict[int, str]) -> None:
    for index, message in enumerate(find_dialogue(body)):
        if index in tails:
            assert extend_by_hand(message, tails[index])


def find_dialogue(body: Any) -> list[Any]:
    return [message for message in body["messages"] if (text := read_by_hand(message)) and not text.isspace()]


def read_by_hand(message: Any) -> str:
    content = message.get("content")
    calls = [call for call in (message.get("tool_calls"), message.get("function_call")) if call not in (None, [])]
    if message["role"] not in ("user", "assistant") or (message["role"] == "assistant" and calls):
        return ""
    if isinstance(content, list):
        content = read_parts(content)
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in content) if is_string(content) else ""


def read_parts(parts: list[Any]) -> str:
    """Empty if one of them has another shape than parts have."""
    for part in parts:
        if not isinstance(part, dict) or not is_string(part.get("type", "")):
            return ""
        if not (is_string(part.get("text", "")) or part["text"] is None):
            return ""
    return "\n".join(part["text"] for part in parts if part.get("type") == "text" and part.get("text"))


def take_out(body: bytes, injected: bytes) -> bytes:
    """*injected* without as many bytes as it is longer, at the place where the two begin to differ."""
    place = next((i for i, (ours, theirs) in enumerate(zip(injected, body, strict=False)) if ours != theirs), len(body))
    return injected[:place] + injected[place + len(injected) - len(body) :]


def check(body: bytes) -> None:
    """A chat has one insertion, which parsers see in one message alone; anything else is left alone."""
    request = ChatRequest.parse(body)
    assert (request is not None) == is_chat(body)
    if request is not None:
        injected = request.inject(BLOCK)
        expected = load(body)
        inject_by_hand(expected)
        assert load(injected) == expected
        assert take_out(body, injected) == body
        found = [(message["role"], read_by_hand(message)) for message in find_dialogue(load(body))]
        assert [(m.role, m.text) for m in request.dialogue] == found


@settings(deadline=None, derandomize=True, max_examples=400)
@given(written(chats))
def test_inject_changes_one_message_only(body: bytes) -> None:
    """For any chat the result is the body with one insertion, and the dialogue is what a JSON parser finds."""
    assert is_chat(body)
    check(body)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(written(dialogues), st.lists(texts.filter(str.isprintable), min_size=6, max_size=6))
def test_tails_change_their_messages_only(body: bytes, written_tails: list[str]) -> None:
    """Each further text is one insertion more, and a JSON parser finds every one at the end of its own message."""
    request = ChatRequest(body)
    tails: dict[int, str] = {}
    injected = body
    for index, message in enumerate(request.dialogue):
        if message.role == "user":
            before, tails[index] = injected, written_tails[index] + BLOCK
            injected = request.inject_tail(tails)
            assert take_out(before, injected) == before
            expected = load(body)
            inject_tail_by_hand(expected, tails)
            assert load(injected) == expected


@settings(deadline=None, derandomize=True, max_examples=300)
@given(written(bodies))
def test_valid_json_is_a_chat_or_left_alone(body: bytes) -> None:
    """Duplicate, missing and odd messages: what parsers see as a chat is one, and nothing else is."""
    check(body)


@settings(deadline=None, derandomize=True, max_examples=600)
@given(damaged() | st.binary(max_size=64) | written(values))
@example(b'\xef\xbb\xbf{"messages":[]}')
@example('{"messages":[]}'.encode("utf-16"))
def test_what_is_no_chat_is_left_alone(body: bytes) -> None:
    """Damaged bodies are forwarded as they are, unless the damage left them a chat."""
    check(body)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(written(chats))
def test_half_a_body_is_left_alone(body: bytes) -> None:
    """A body that is cut at any place, before its last bracket, is no chat."""
    assert all(ChatRequest.parse(body[:cut]) is None for cut in range(len(body.rstrip())))
