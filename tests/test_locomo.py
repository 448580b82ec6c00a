"""Recall of whole conversations, end to end: imported, asked about with the official client, seen by the upstream."""

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from tests.processes import REPOSITORY, Proxy, Upstream, running_upstream

OWN: Final = Path(__file__).parent / "data"
LOCOMO: Final = REPOSITORY.parent / "shared" / "data" / "locomo"
# Of LoCoMo so many questions are asked: the first ones, in the file's order, about which the data says anything.
ASKED: Final = 10
# Otherwise one question would be found by the next.
READ: Final = {"MEMORY_PROXY_MEMORY__MODE": "read"}

Question = dict[str, Any]
# By user, conversation, and position.
Turns = Mapping[tuple[str, str, int], str]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def read_conversations(folder: Path) -> bytes:
    """JSON Lines, unpacked where they are packed."""
    packed = folder / "conversations.jsonl.gz"
    return gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "conversations.jsonl").read_bytes()


def read_turns(lines: bytes) -> Turns:
    talks = [json.loads(line) for line in lines.splitlines()]
    return {
        (talk["user_id"], talk["conversation_id"], place): message["content"]
        for talk in talks
        for place, message in enumerate(talk["messages"])
    }


def read_questions(folder: Path) -> list[Question]:
    questions: list[Question] = json.loads((folder / "questions.json").read_bytes())
    return questions


def find_evidence(question: Question, turns: Turns) -> list[str]:
    """The texts that answer a question, each as the one line that it is in a block."""
    found = [turns[question["user_id"], conversation, place] for conversation, place in question["evidence"]]
    return [" ".join(text.split()) for text in found]


def is_shown(text: str, system: str) -> bool:
    """Whether a line of the block is *text*, or what is left of it between the marks of a cut."""
    lines = [line.partition(": ")[2] for line in system.splitlines() if line.startswith("- ")]
    return any(all(piece.strip() in text for piece in line.split("…")) for line in lines)


def ask(url: str, question: Question) -> None:
    """A new conversation of this user's, with nothing but the question."""
    headers = {"X-User-Id": question["user_id"]}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, default_headers=headers) as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": question["question"]}])


def import_and_ask(proxy: Proxy, upstream: Upstream, lines: bytes, questions: list[Question]) -> dict[str, str]:
    """By question id, the system message that the upstream received."""
    proxy.wait_ready()
    done = proxy.call("POST", "/memory/import", content=lines).raise_for_status().json()
    assert (done["stored"], done["errors"]) == (len(read_turns(lines)), [])
    systems = {}
    for question in questions:
        ask(proxy.url, question)
        systems[question["id"]] = upstream.last_system
    return systems


def test_own_conversations_are_recalled(tmp_path: Path, upstream: Upstream) -> None:
    """Each question brings the turn that answers it into the system message, and nobody else's turns."""
    lines, questions = read_conversations(OWN), read_questions(OWN)
    turns = read_turns(lines)
    # With the words around it, a third of what a user has said: nothing gets in by luck.
    budget = {"MEMORY_PROXY_MEMORY__BUDGET_TOKENS": "170"}
    with Proxy(tmp_path, upstream.url, environ=READ | budget) as proxy:
        systems = import_and_ask(proxy, upstream, lines, questions)
    for question in questions:
        system = systems[question["id"]]
        assert all(is_shown(text, system) for text in find_evidence(question, turns)), (question["question"], system)
        others = [text for (user, _, _), text in turns.items() if user != question["user_id"]]
        assert not [text for text in others if text in system]


def test_locomo_conversations_are_recalled(tmp_path: Path, upstream: Upstream) -> None:
    """Ten questions about conversations of hundreds of turns: each answering turn is in the system message."""
    if not LOCOMO.is_dir():
        pytest.skip(f"the LoCoMo development conversations are not at {LOCOMO}")
    lines = read_conversations(LOCOMO)
    turns = read_turns(lines)
    answerable = [q for q in read_questions(LOCOMO) if q["type"] != "adversarial" and len(q["evidence"]) == 1]
    questions = answerable[:ASKED]
    with Proxy(tmp_path, upstream.url, environ=READ) as proxy:
        systems = import_and_ask(proxy, upstream, lines, questions)
    missing = [q["question"] for q in questions if not is_shown(find_evidence(q, turns)[0], systems[q["id"]])]
    assert missing == []
