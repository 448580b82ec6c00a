"""Files of other programs' data, as their exports have it, made for tests."""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from proxy.imports.files import open_source
from proxy.imports.pieces import Pieces

AT = datetime(2024, 5, 1, 10, tzinfo=UTC)


class Read(NamedTuple):
    """What a file has become."""

    format: str
    lines: list[dict[str, Any]]
    numbers: list[int]
    errors: list[tuple[int, str]]
    skipped: Counter[str]


def read(path: Path, *, format_name: str | None = None, user: str | None = None, tenant: str = "") -> Read:
    """All of a file at once."""
    with open_source(str(path)) as source:
        pieces = Pieces(source, format_name=format_name, user=user, tenant=tenant)
        found = list(pieces)
    return Read(
        pieces.format_name,
        [json.loads(line) for piece in found for line in piece.lines],
        [number for piece in found for number in piece.numbers],
        [error for piece in found for error in piece.errors],
        +pieces.skipped,
    )


def said(line: dict[str, Any]) -> list[tuple[str, str]]:
    """Who said what in a conversation line."""
    return [(message["role"], message["content"]) for message in line["messages"]]


def node(
    name: str, parent: str | None, role: str = "", *parts: Any, at: float | None = 1714557600.5, **changes: Any
) -> dict[str, Any]:
    """A node of ChatGPT's trees; without a role one without a message."""
    message: dict[str, Any] | None = None
    if role:
        message = {
            "id": name,
            "author": {"role": role, "name": None, "metadata": {}},
            "create_time": at,
            "update_time": None,
            "content": {"content_type": changes.pop("content_type", "text"), "parts": list(parts)},
            "status": "finished_successfully",
            "end_turn": None,
            "weight": 1.0,
            "metadata": {},
            "recipient": "all",
            "channel": None,
            **changes,
        }
    return {"id": name, "message": message, "parent": parent, "children": []}


def tree(*nodes: dict[str, Any], current: str | None = None, name: str = "c-1", **changes: Any) -> dict[str, Any]:
    """A conversation of ChatGPT's export, which ends at *current* or at the last of *nodes*."""
    for one in nodes:
        one["children"] = [other["id"] for other in nodes if other["parent"] == one["id"]]
    return {
        "title": "A talk",
        "create_time": 1714557600.25,
        "update_time": 1714557700.0,
        "mapping": {one["id"]: one for one in nodes},
        "moderation_results": [],
        "current_node": current or nodes[-1]["id"],
        "plugin_ids": None,
        "conversation_id": name,
        "id": name,
        "is_archived": False,
        **changes,
    }


def talk(*texts: str, name: str = "c-1") -> dict[str, Any]:
    """A conversation of ChatGPT's export without any branches."""
    nodes = [node("root", None), node("s", "root", "system", "")]
    for number, text in enumerate(texts):
        nodes.append(node(f"n{number}", nodes[-1]["id"], ("user", "assistant")[number % 2], text))
    return tree(*nodes, name=name)


def write(path: Path, content: Any, **options: Any) -> Path:
    """A JSON file."""
    path.write_text(json.dumps(content, **options), "utf-8")
    return path


def write_log(path: Path, requests: Sequence[Any]) -> Path:
    """A file of JSON Lines."""
    path.write_text("".join(json.dumps(request) + "\n" for request in requests), "utf-8")
    return path


def write_archive(path: Path, **files: Any) -> Path:
    """An archive of JSON files; a double underscore in a name is a slash, or a dash before a number."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(content))
    path.write_bytes(packed.getvalue())
    return path


def request(*texts: str, answer: str | None = None, **more: Any) -> dict[str, Any]:
    """A line of a log: a conversation by turns, the user first, and its answer."""
    messages = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]
    line: dict[str, Any] = {"request": {"model": "m", "messages": messages, "user": more.pop("user", "ada")}, **more}
    if answer is not None:
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        line["response"] = {"id": "r", "object": "chat.completion", "created": 1714557600, "choices": [choice]}
    return line
