"""Completions that the proxy writes itself: what is asked for, and what clients are given."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from proxy.dialects.completion import Answer, Asked, read_asked, write_answer

SAID = [{"role": "user", "content": "Hi"}]


def ask(messages: Any = SAID, **fields: Any) -> Asked:
    asked = read_asked(json.dumps({"messages": messages, **fields}).encode())
    assert asked is not None
    return asked


def chunks(answer: Answer) -> list[dict[str, Any]]:
    """The events of a stream but for its closing one."""
    *events, done, rest = answer.body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def write(asked: Asked, text: str = "Hello") -> Answer:
    return write_answer(text, asked, number="abc", created=1_700_000_000)


def test_what_is_asked_for() -> None:
    """Each field is read, and has a default."""
    assert ask() == Asked("", 1, stream=False, usage=False, typed="Hi")
    asked = ask(model="gpt-x", n=3, stream=True, stream_options={"include_usage": True})
    assert asked == Asked("gpt-x", 3, stream=True, usage=True, typed="Hi")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", 3),
        ("n", "2"),
        ("n", True),
        ("n", 0),
        ("n", -5),
        ("n", 1.5),
        ("n", None),
        ("stream", "true"),
        ("stream", None),
        ("stream_options", None),
        ("stream_options", []),
        ("stream_options", {"include_usage": 1}),
    ],
)
def test_what_makes_no_sense_is_the_default(field: str, value: Any) -> None:
    """A command is carried out whatever else the body says."""
    assert ask(**{field: value}) == ask()


def test_choices_are_bounded() -> None:
    """A number of any size makes no answer of any size."""
    assert ask(n=10**30).choices == 128


@pytest.mark.parametrize(
    "content",
    [
        None,
        3,
        {"text": "Hi"},
        [],
        [{"type": "text", "text": "Hi"}, {"type": "text", "text": "a file"}],
        [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:"}}],
        [{"type": "image_url", "image_url": {"url": "data:"}}],
        [{"type": "text"}],
    ],
)
def test_more_than_a_text_is_not_typed(content: Any) -> None:
    """Only a text alone is what somebody has typed."""
    assert ask([{"role": "user", "content": content}]).typed is None


def test_the_last_message_is_typed() -> None:
    """A string or a single part; of anybody but a user it is not."""
    assert ask([*SAID, {"role": "user", "content": [{"type": "text", "text": "Bye"}]}]).typed == "Bye"
    assert ask([*SAID, {"role": "assistant", "content": "Hello"}]).typed is None
    assert ask([*SAID, {"role": "tool", "content": "4"}]).typed is None
    assert ask([*SAID, {"role": "user"}]).typed is None
    assert ask([]).typed is None


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"messages": 3}', b'{"messages": [3]}', b"\xff", b"[" * 200_000])
def test_what_is_no_request(body: bytes) -> None:
    """A body that cannot be read asks for nothing."""
    assert read_asked(body) is None


def test_a_completion() -> None:
    """In the shape that the official client reads, with nothing used."""
    answer = write(ask(model="gpt-x"))
    assert dict(answer.headers) == {
        b"content-type": b"application/json",
        b"content-length": b"%d" % len(answer.body),
    }
    whole = ChatCompletion.model_validate_json(answer.body, strict=True)
    assert (whole.id, whole.model, whole.created) == ("chatcmpl-memory-abc", "gpt-x", 1_700_000_000)
    assert [(choice.message.content, choice.finish_reason) for choice in whole.choices] == [("Hello", "stop")]
    assert whole.usage is not None
    assert whole.usage.total_tokens == 0


def test_several_choices_are_equal() -> None:
    """Each has the whole text and a number of its own."""
    whole = ChatCompletion.model_validate_json(write(ask(n=3)).body)
    assert [(choice.index, choice.message.content) for choice in whole.choices] == [(n, "Hello") for n in range(3)]


def test_a_stream() -> None:
    """The role, the text, the end; no usage where nobody asked for it."""
    answer = write(ask(model="gpt-x", stream=True))
    headers = dict(answer.headers)
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"content-length"] == b"%d" % len(answer.body)
    parts = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks(answer)]
    assert [part.choices[0].delta.role for part in parts] == ["assistant", None, None]
    assert [part.choices[0].delta.content for part in parts] == ["", "Hello", None]
    assert [part.choices[0].finish_reason for part in parts] == [None, None, "stop"]
    assert {part.model for part in parts} == {"gpt-x"}
    assert all("usage" not in chunk for chunk in chunks(answer))


def test_a_stream_with_usage() -> None:
    """The last chunk has it and no choice, as with OpenAI; the others have none."""
    *parts, last = chunks(write(ask(stream=True, stream_options={"include_usage": True})))
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 0)
    assert {part["usage"] for part in parts} == {None}


def test_a_stream_of_several_choices() -> None:
    """Every choice is complete for itself."""
    texts, ended = {0: "", 1: ""}, []
    for chunk in chunks(write(ask(stream=True, n=2))):
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
        if choice["finish_reason"]:
            ended.append(choice["index"])
    assert (texts, ended) == ({0: "Hello", 1: "Hello"}, [0, 1])


def test_any_text_is_one_event() -> None:
    """Line ends within a text do not end an event."""
    text = "One\n\ntwo\r\n\u2028data: [DONE]\n\n“three”"
    (_, middle, _) = chunks(write(ask(stream=True), text))
    assert middle["choices"][0]["delta"]["content"] == text
