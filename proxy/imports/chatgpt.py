"""The file ``conversations.json`` of ChatGPT's data export: trees of messages, of which one branch is what was said."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from proxy.imports.base import Given, Record, Said, decode, read_date, write_talk

# Kinds of content that somebody said. In "code" the assistant speaks to a tool.
_SPOKEN: Final = frozenset({"text", "multimodal_text", None})
_THOUGHT: Final = frozenset({"thoughts", "reasoning_recap"})
_INSTRUCTION: Final = frozenset({"user_editable_context", "model_editable_context"})
# What the application shows as links, names and pictures: a kind and fields, between characters for private use.
_MARKER: Final = re.compile("\ue200([^\ue200\ue201]*)\ue201")
_FIELD: Final = "\ue202"


class _Author(msgspec.Struct, gc=False):
    role: str = ""


class _Content(msgspec.Struct, gc=False):
    content_type: Any = None
    parts: Any = None


class _Metadata(msgspec.Struct, gc=False):
    is_visually_hidden_from_conversation: Any = None


class _Message(msgspec.Struct):
    author: _Author | None = None
    create_time: Any = None
    content: _Content | None = None
    weight: Any = None
    metadata: _Metadata | None = None
    recipient: Any = None
    channel: Any = None


class _Node(msgspec.Struct):
    message: _Message | None = None
    parent: str | None = None


class _Conversation(msgspec.Struct):
    mapping: dict[str, _Node]
    current_node: str | None = None
    conversation_id: str | None = None
    id: str | None = None
    create_time: Any = None
    is_do_not_remember: Any = None


_CONVERSATION: Final = msgspec.json.Decoder(_Conversation)


def recognises(members: Mapping[str, msgspec.Raw]) -> bool:
    """Nobody else calls the messages of a conversation a mapping."""
    return "mapping" in members


def says_user(_: Mapping[str, msgspec.Raw]) -> bool:
    """It is somebody's own export, and says nothing of who that is."""
    return False


class ChatGPTReader:
    """Conversations of one user, each as the branch that its user has seen last."""

    def __init__(self, given: Given, skipped: Counter[str]) -> None:
        self._given = given
        self._skipped = skipped

    def read(self, record: Record) -> Iterator[Record]:
        """What user and assistant said in one conversation."""
        conversation = decode(_CONVERSATION, record.data)
        if conversation.is_do_not_remember:
            self._skipped["unremembered"] += 1
            return
        path = _find_path(conversation)
        for node_id in conversation.mapping.keys() - set(path):
            self._skipped["branch"] += isinstance(_read(conversation.mapping[node_id].message), str)
        said = list(self._list_said(conversation, path))
        if not said:
            self._skipped["blank"] += 1
            return
        name = conversation.conversation_id or conversation.id or f"chatgpt-{path[0]}"
        yield from write_talk(self._given.user or "", name, said, number=record.number)

    def finish(self) -> tuple[()]:
        """Nothing is held back."""
        return ()

    def _list_said(self, conversation: _Conversation, path: list[str]) -> Iterator[Said]:
        at = read_date(conversation.create_time) or self._given.at
        for node_id in path:
            message = conversation.mapping[node_id].message
            if message is None:
                continue
            at = read_date(message.create_time) or at
            said = _read(message)
            if isinstance(said, str):
                yield Said(message.author.role if message.author else "", said, at)
            else:
                self._skipped[said.reason] += 1


class _Skipped(msgspec.Struct, frozen=True):
    reason: str


def _find_path(conversation: _Conversation) -> list[str]:
    """The nodes from the root to the current one; where none is named, to the one that was added last."""
    mapping = conversation.mapping
    node: str | None = conversation.current_node
    if node not in mapping:
        parents = {one.parent for one in mapping.values()}
        leaves = [name for name in mapping if name not in parents]
        node = max(leaves, key=lambda name: _added_at(mapping[name]), default=None)
    path: dict[str, None] = {}
    while node is not None and node in mapping and node not in path:
        path[node] = None
        node = mapping[node].parent
    return [*path][::-1]


def _added_at(node: _Node) -> float:
    at: datetime | None = read_date(node.message.create_time) if node.message else None
    return at.timestamp() if at else 0.0


def _read(message: _Message | None) -> str | _Skipped:
    """What was said, or why it is left out."""
    if message is None:
        return _Skipped("empty")
    reason = _find_reason(message)
    if reason:
        return _Skipped(reason)
    text = _read_text(message.content.parts if message.content else None)
    return text if text.strip() else _Skipped("empty")


def _find_reason(message: _Message) -> str | None:
    role = message.author.role if message.author else ""
    kind = message.content.content_type if message.content and isinstance(message.content.content_type, str) else None
    if role == "system" or kind in _INSTRUCTION:
        return "system"
    if role not in ("user", "assistant") or message.recipient not in (None, "all"):
        return "tool"
    if kind in _THOUGHT or message.channel == "analysis":
        return "reasoning"
    if message.weight == 0 or (message.metadata and message.metadata.is_visually_hidden_from_conversation):
        return "hidden"
    return None if kind in _SPOKEN else "tool"


def _read_text(parts: Any) -> str:
    """The words in *parts*: pictures and files have none, what was spoken was written down."""
    if not isinstance(parts, list):
        return ""
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    text = "\n".join(text for text in texts if isinstance(text, str) and text)
    return _MARKER.sub(_show, text) if "\ue200" in text else text


def _show(marker: re.Match[str]) -> str:
    """What of a marker is read as words: the name of something, the text of a link."""
    kind, *fields = marker[1].split(_FIELD)
    if kind == "url" and fields:
        return fields[0]
    if kind == "entity" and fields:
        try:
            return str(json.loads(fields[0])[1])
        except (ValueError, LookupError, TypeError):
            return ""
    return ""
