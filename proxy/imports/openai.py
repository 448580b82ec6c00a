"""Logs of an OpenAI-compatible API, and the lines that models are tuned with: what was said in each request."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Raw

from proxy.classify import TOOL_STEP, Classifier
from proxy.config import Classification
from proxy.dialects.answer import Answer
from proxy.dialects.chat_completions import ChatRequest, Content, has_words, mend_surrogates, text_of
from proxy.imports.base import Given, Record, Said, decode, read_date, write_talk
from proxy.imports.tracking import Talk, Tracker
from proxy.models import Message, Scope

# Where logs have a request and its answer, unless they are the line itself. Within, there may be a "body".
REQUESTS: Final = ("request", "request_body", "body", "input")
RESPONSES: Final = ("response", "response_body", "completion", "output")
BODY: Final = "body"
USERS: Final = ("user", "safety_identifier", "user_id", "end_user")
CONVERSATIONS: Final = ("conversation_id", "session_id", "thread_id", "chat_id")
DATES: Final = ("created_at", "timestamp", "created", "time", "start_time", "startTime")
# An answer with such a status is an error.
_ERROR: Final = 400

Members = Mapping[str, Raw]

_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])
_LIST: Final = msgspec.json.Decoder(list[Raw])
_STRING: Final = msgspec.json.Decoder(str)
_ANY: Final = msgspec.json.Decoder()


class _Turn(msgspec.Struct):
    role: str = ""
    content: Content = None
    tool_calls: Any = None
    function_call: Any = None


class _Turns(msgspec.Struct):
    messages: list[_Turn]


class _Choice(msgspec.Struct):
    index: int | None = None
    message: _Turn | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    error: Any = None


_TURNS: Final = msgspec.json.Decoder(_Turns)
_TURN: Final = msgspec.json.Decoder(_Turn)
_COMPLETION: Final = msgspec.json.Decoder(_Completion)


class _FailedError(Exception):
    """The request came to nothing."""


def recognises(members: Members) -> bool:
    """A request, or something that holds one."""
    return "messages" in members or _unwrap(members, REQUESTS) is not None


def says_user(members: Members) -> bool:
    """In the request or beside it."""
    return _find_string(_list_levels(members), USERS) is not None


class OpenAIReader:
    """Requests in the order in which they were made; what a conversation's next request sends again is known."""

    def __init__(self, given: Given, skipped: Counter[str]) -> None:
        self._given = given
        self._skipped = skipped
        self._classifier = Classifier(Classification())
        self._tracker = Tracker(skipped)
        # What has no date has that of what came before it.
        self._at = given.at

    def read(self, record: Record) -> Iterator[Record]:
        """What the request in *record* adds to its conversation."""
        data = mend_surrogates(record.data)
        members = decode(_MEMBERS, data)
        body = data if "messages" in members else _unwrap(members, REQUESTS)
        request = ChatRequest.parse(body) if body else None
        if body is None or request is None:
            raise ValueError("there is no request with messages in it")
        levels = _list_levels(members)
        user = _find_string(levels, USERS) or self._given.user
        if user is None:
            raise ValueError("it does not say whose it is; --user says so")
        self._at = _find_date(levels) or self._at
        # Of a line to tune a model with, the answer is the last of the messages, so that the request has nothing new.
        if self._classifier.classify(request) not in (None, TOOL_STEP, "no_words"):
            self._skipped["job"] += 1
            return
        self._skipped.update(_list_unsaid(body))
        try:
            answers = _read_answer(members, data)
        except _FailedError:
            self._skipped["failed"] += 1
            return
        texts = [*request.dialogue, *(Message("assistant", text) for text in answers)]
        said = [Said(one.role, one.text, self._at, one.name) for one in texts]
        if not any(one.role == "user" for one in said):
            self._skipped["blank"] += 1
            return
        name = _find_string(levels, CONVERSATIONS)
        for talk in self._tracker.take(Scope(user, self._given.tenant), name, said, record.number):
            yield from _write(talk)

    def finish(self) -> Iterator[Record]:
        """Requests with which nothing went on."""
        for talk in self._tracker.finish():
            yield from _write(talk)


def _write(talk: Talk) -> Iterator[Record]:
    return write_talk(
        talk.scope.user_id, talk.conversation_id, talk.said, number=talk.number, first_index=talk.first_index
    )


def _list_levels(members: Members) -> list[Members]:
    """Where a line may say something about itself: what is said in the request goes first."""
    request, response = _unwrap(members, REQUESTS), _unwrap(members, RESPONSES)
    found = [_MEMBERS.decode(request)] if request and "messages" not in members else []
    levels = [one for level in (*found, members) for one in (level, _find_members(level, "metadata")) if one]
    return levels if response is None else [*levels, _MEMBERS.decode(response)]


def _unwrap(members: Members, names: Sequence[str]) -> bytes | None:
    """The object that one of *names* is, or its body; written as a string, too."""
    for name in names:
        data = _read_object(members.get(name))
        if data is not None:
            return _read_object(_MEMBERS.decode(data).get(BODY)) or data
    return None


def _read_object(raw: Raw | None) -> bytes | None:
    data = b"" if raw is None else bytes(raw)
    if data.startswith(b'"'):
        data = _STRING.decode(data).strip().encode()
        try:
            _MEMBERS.decode(data)
        except (msgspec.MsgspecError, RecursionError):
            return None
    return data if data.startswith(b"{") else None


def _find_members(members: Members, name: str) -> Members:
    data = _read_object(members.get(name))
    return {} if data is None else _MEMBERS.decode(data)


def _find_string(levels: Sequence[Members], names: Sequence[str]) -> str | None:
    for members in levels:
        for name in names:
            raw = bytes(members.get(name, Raw(b"null")))
            if raw.startswith(b'"') and (found := _STRING.decode(raw)):
                return found
    return None


def _find_date(levels: Sequence[Members]) -> datetime | None:
    for members in levels:
        for name in DATES:
            if name in members and (found := read_date(_ANY.decode(members[name]))):
                return found
    return None


def _list_unsaid(body: bytes) -> Iterator[str]:
    """Why what this request has brought along for the first time is left out, message by message."""
    try:
        turns = _TURNS.decode(body).messages
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # of a shape that few have
    if turns and turns[-1].role == "assistant":
        del turns[-1]
    for turn in reversed(turns):
        if turn.role in ("system", "developer"):
            yield "system"
        elif turn.role not in ("user", "assistant") or turn.tool_calls or turn.function_call:
            yield "tool"
        elif not has_words(text_of(turn.content)):
            yield "empty"
        elif turn.role == "assistant":
            return


def _read_answer(members: Members, line: bytes) -> list[str]:
    """What the assistant answered, if that is there; nothing where it has called a tool.

    Raises:
        _FailedError: an error instead.
    """
    if "choices" in members:
        return _read_completion(line)
    data = _unwrap(members, RESPONSES)
    raw = next((bytes(members[name]) for name in RESPONSES if name in members), b"null")
    if data is not None:
        _check_status(members)
        return _read_completion(data)
    if raw.startswith(b"["):
        return _read_events(raw)
    text = _STRING.decode(raw) if raw.startswith(b'"') else ""
    return [text] if has_words(text) else []


def _check_status(members: Members) -> None:
    status = next((_find_members(members, name).get("status_code") for name in RESPONSES if name in members), None)
    code = _ANY.decode(status) if status is not None else None
    if isinstance(code, int) and code >= _ERROR:
        raise _FailedError


def _read_completion(data: bytes) -> list[str]:
    completion = _COMPLETION.decode(data)
    if completion.error:
        raise _FailedError
    choices = completion.choices
    # Some logs have the message alone.
    said = next((one.message for one in choices if not one.index), None) if choices is not None else _TURN.decode(data)
    text = "" if said is None or said.tool_calls or said.function_call else text_of(said.content)
    return [text] if has_words(text) else []


def _read_events(raw: bytes) -> list[str]:
    """The answer that was streamed, from the list of its events."""
    answer = Answer()
    for event in _LIST.decode(raw):
        answer.take(bytes(event))
    reply = answer.reply()
    return [reply.text] if reply is not None and not reply.is_step else []
