"""Tiny data sets for ``memory-proxy eval``, written by the tests that need them."""

import json
from pathlib import Path
from typing import Any


def make_conversation(
    number: int, *texts: str, user: str = "ann", roles: tuple[str, ...] = ("user",), day: int | None = None
) -> dict[str, Any]:
    """A conversation ``ann-<number>``, a month's day apart from others; *roles* take turns."""
    messages = [{"role": roles[i % len(roles)], "content": text} for i, text in enumerate(texts)]
    return {
        "user_id": user,
        "conversation_id": f"{user}-{number}",
        "started_at": f"2024-01-{day or number + 1:02}T10:00:00Z",
        "messages": messages,
    }


def make_chat(number: int, *texts: str, user: str = "ann", day: int | None = None) -> dict[str, Any]:
    """A conversation in turns of user and assistant."""
    return make_conversation(number, *texts, user=user, roles=("user", "assistant"), day=day)


def make_question(
    text: str, *evidence: tuple[str, int], kind: str = "plain", user: str = "ann", answer: str = ""
) -> dict[str, Any]:
    """A question asked after all conversations."""
    return {
        "user_id": user,
        "id": text[:8],
        "type": kind,
        "asked_at": "2024-02-01T10:00:00Z",
        "question": text,
        "answer": answer,
        "evidence": evidence,
    }


def write_set(folder: Path, conversations: list[dict[str, Any]], questions: list[dict[str, Any]]) -> Path:
    """The folder, with both files in it."""
    folder.mkdir(exist_ok=True)
    (folder / "conversations.jsonl").write_text("\n".join(map(json.dumps, conversations)))
    (folder / "questions.json").write_text(json.dumps(questions))
    return folder
