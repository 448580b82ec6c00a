"""What Mem0's ``get_all`` answers, by version and by where it runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import MemoryProxyError
from proxy.imports import FormatError
from tests.imported import read, write

MEMORY: dict[str, Any] = {
    "id": "892db2ae-06d9-49e5-8b3e-585ef9b85b8e",
    "memory": "Lives in Berlin",
    "hash": "bf4d4092f9f040c2",
    "metadata": {"category": "home"},
    "created_at": "2024-07-26T08:03:43.580634-07:00",
    "updated_at": None,
    "user_id": "ada",
}
OTHER = {**MEMORY, "id": "b-2", "memory": "Plays the oboe", "run_id": "r-7", "updated_at": "2024-08-01T00:00:00Z"}
SHAPES: list[Any] = [
    {"results": [MEMORY, OTHER]},
    {"results": [MEMORY, OTHER], "relations": [{"source": "ada", "relationship": "lives_in", "target": "berlin"}]},
    {"relations": [{"source": "ada"}] * 30, "results": [MEMORY, OTHER]},
    [MEMORY, OTHER],
    {"count": 2, "next": None, "previous": None, "results": [MEMORY, OTHER]},
]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=["library", "graph", "graph first", "list", "platform"])
def test_memories_become_facts(tmp_path: Path, shape: Any, indent: int | None) -> None:
    """Each under an id of its own, which is the same with the next import; relations are counted."""
    found = read(write(tmp_path / "mem0.json", shape, indent=indent))
    assert (found.format, found.numbers, found.errors) == ("mem0", [1, 2], [])
    assert found.skipped["relation"] == (len(shape.get("relations", [])) if isinstance(shape, dict) else 0)
    assert found.lines == [
        {
            "id": "08f8829c24f3e882935c8f81fea39ed3",
            "user_id": "ada",
            "kind": "fact",
            "role": "user",
            "text": "Lives in Berlin",
            "created_at": "2024-07-26T15:03:43.580634Z",
            "conversation_id": "mem0",
            "message_index": 0,
            "origin": "extracted",
        },
        {
            "id": found.lines[1]["id"],
            "user_id": "ada",
            "kind": "fact",
            "role": "user",
            "text": "Plays the oboe",
            "created_at": "2024-08-01T00:00:00Z",
            "conversation_id": "r-7",
            "message_index": 0,
            "origin": "extracted",
        },
    ]


def test_pages_may_be_put_together(tmp_path: Path) -> None:
    """One answer behind the other, or one a line."""
    pages = [{"count": 2, "next": "page=2", "results": [MEMORY]}, {"count": 2, "next": None, "results": [OTHER]}]
    path = tmp_path / "pages.json"
    path.write_text("\n".join(json.dumps(page, indent=1) for page in pages))
    assert [line["text"] for line in read(path).lines] == ["Lives in Berlin", "Plays the oboe"]
    for lines in (pages, (MEMORY, OTHER)):
        path.write_text("\n".join(map(json.dumps, lines)))
        assert [line["text"] for line in read(path).lines] == ["Lives in Berlin", "Plays the oboe"]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    """What has expired, and what has no words; what cannot be read is named."""
    memories = [
        {**MEMORY, "expiration_date": "2020-01-01"},
        {**MEMORY, "expiration_date": "2999-01-01"},
        {**MEMORY, "memory": " "},
        {**MEMORY, "memory": None},
        {**MEMORY, "user_id": None, "agent_id": "bot"},
        {**MEMORY, "user_id": 7},
        {"id": 12, "memory": "Sings", "user_id": "ada", "role": "assistant"},
    ]
    found = read(write(tmp_path / "mem0.json", {"results": memories}))
    assert [(line["text"], line["role"]) for line in found.lines] == [
        ("Lives in Berlin", "user"),
        ("Sings", "assistant"),
    ]
    assert found.skipped == {"expired": 1, "empty": 1}
    assert [number for number, _ in found.errors] == [4, 5, 6]
    assert found.errors[1][1] == "it does not say whose it is; --user says so"


def test_a_user_may_be_given(tmp_path: Path) -> None:
    """For memories that name nobody; those that do keep theirs."""
    nobody = {**MEMORY, "id": "n", "user_id": None}
    path = write(tmp_path / "mem0.json", [nobody, MEMORY])
    assert [line["user_id"] for line in read(path, user="bob").lines] == ["bob", "ada"]
    with pytest.raises(FormatError, match="--user"):
        read(write(tmp_path / "nobody.json", [nobody]))


@pytest.mark.parametrize("content", ['{"results": []}', "[]"])
def test_nothing_is_no_failure(tmp_path: Path, content: str) -> None:
    """A user without memories."""
    path = tmp_path / "mem0.json"
    path.write_text(content)
    found = read(path, format_name="mem0")
    assert (found.lines, found.errors) == ([], [])


def test_a_file_that_is_cut_short_is_told(tmp_path: Path) -> None:
    """And no page that nobody could read passes for an empty one."""
    path = tmp_path / "mem0.json"
    path.write_text(json.dumps({"results": [MEMORY]})[:-20])
    with pytest.raises(MemoryProxyError, match="cut short"):
        read(path)
