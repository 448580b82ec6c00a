"""How well recall finds what was said: what ``memory-proxy eval`` runs, by the production code and nothing else."""

import gzip
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from proxy.embedders.base import pack_vector
from proxy.embedders.local import LocalEmbedder
from proxy.errors import ConfigError
from proxy.models import Memory, Record
from proxy.packing import make_pack
from proxy.recall.block import render
from proxy.recall.query import Query
from proxy.recall.ranking import rank
from proxy.text import ANALYSIS, pack_terms
from proxy.workingset import WorkingSet

BUDGETS: Final = (500, 1000, 2000)
# Questions to which the right answer is that nothing was said.
_UNANSWERABLE: Final = frozenset({"adversarial", "abstention"})
_FIRST: Final = 10

Position = tuple[str, int]


class _Said(msgspec.Struct):
    role: str
    content: str
    name: str | None = None
    created_at: datetime | None = None


class _Conversation(msgspec.Struct):
    user_id: str
    conversation_id: str
    started_at: datetime
    messages: list[_Said]


class Question(msgspec.Struct):
    """One line of ``questions.json``; *evidence* are the messages that hold the answer."""

    user_id: str
    id: str
    type: str
    question: str
    evidence: list[Position]
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over *questions*: the share of their evidence among the ten best, and inside a block of each budget."""

    questions: int
    recall_at_10: float
    share: dict[int, float]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. Times are milliseconds, wall and CPU, from a question to the block of the first budget."""

    users: int
    memories: int
    left_out: int
    overall: Scores
    types: dict[str, Scores]
    recall_ms: dict[str, float]
    cpu_ms: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class _Tally:
    """Outcomes of single questions."""

    first: list[float] = field(default_factory=list)
    inside: dict[int, list[float]] = field(default_factory=dict)

    def score(self) -> Scores:
        share = {budget: float(np.mean(values)) for budget, values in self.inside.items()}
        return Scores(len(self.first), float(np.mean(self.first)), share)


def evaluate(
    directory: Path,
    *,
    budgets: Sequence[int] = BUDGETS,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Score recall on the data set in *directory*; *progress* is told how many of how many users are done.

    Questions are asked one by one of a user's whole set, by their text and the time of asking. A token is four
    characters here, so that figures compare between models. Blocks, for all budgets, are made of one ranking.

    Raises ConfigError, naming file and line, when the files cannot be read.
    """
    memories = _read_memories(directory)
    questions = _read_questions(directory / "questions.json", memories)
    asked = [question for question in questions if question.evidence and question.type not in _UNANSWERABLE]
    if not asked:
        raise ConfigError(f"{directory / 'questions.json'}: no question with evidence")
    examiner = _Examiner(budgets)
    for done, (user_id, remembered) in enumerate(memories.items(), start=1):
        examiner.examine(remembered, [question for question in asked if question.user_id == user_id])
        if progress is not None:
            progress(done, len(memories))
    return examiner.report(
        users=len(memories), memories=sum(map(len, memories.values())), left_out=len(questions) - len(asked)
    )


class _Examiner:
    """Asks questions and keeps the outcomes."""

    def __init__(self, budgets: Sequence[int]) -> None:
        self._budgets = budgets
        self._embedder = LocalEmbedder()
        self._tallies: dict[str, _Tally] = {}
        self._wall: list[float] = []
        self._cpu: list[float] = []

    def examine(self, memories: Sequence[Memory], questions: Sequence[Question]) -> None:
        """Ask *questions* of a user who has *memories*. Without questions the set is not even made."""
        if not questions:
            return
        working_set = WorkingSet.from_pack(make_pack(list(self._make_records(memories))))
        # Made when first asked for, which a user's first request pays and no other.
        _ = working_set.layout.neighbours
        for question in questions:
            tally = self._tallies.setdefault(question.type, _Tally())
            self._ask(working_set, question, tally)

    def report(self, *, users: int, memories: int, left_out: int) -> Report:
        whole = _Tally()
        for tally in self._tallies.values():
            whole.first += tally.first
            for budget, values in tally.inside.items():
                whole.inside.setdefault(budget, []).extend(values)
        return Report(
            users=users,
            memories=memories,
            left_out=left_out,
            overall=whole.score(),
            types={name: self._tallies[name].score() for name in sorted(self._tallies)},
            recall_ms=_summarise(self._wall),
            cpu_ms=_summarise(self._cpu),
        )

    def _make_records(self, memories: Sequence[Memory]) -> Iterator[Record]:
        vectors = self._embedder.embed_now([memory.text for memory in memories])
        for memory, vector in zip(memories, vectors, strict=True):
            yield Record(memory, pack_vector(vector), pack_terms(memory.text, memory.name), ANALYSIS)

    def _ask(self, working_set: WorkingSet, question: Question, tally: _Tally) -> None:
        evidence = set(question.evidence)
        wall, cpu = time.perf_counter(), time.process_time()
        query = Query.from_text(question.question, asked_at=question.asked_at)
        ranked = rank(working_set, query.with_vector(self._embedder.embed_now([query.text])[0]))
        blocks = {}
        for index, budget in enumerate(self._budgets):
            blocks[budget] = render(working_set.memories, ranked, budget_tokens=budget, count=_count_quarters)
            if index == 0:
                self._wall.append(time.perf_counter() - wall)
                self._cpu.append(time.process_time() - cpu)
        best = [working_set.memories[row] for row in ranked.rows[:_FIRST].tolist()]
        tally.first.append(_share(evidence, best))
        for budget, block in blocks.items():
            tally.inside.setdefault(budget, []).append(_share(evidence, block.memories if block else ()))


def _share(evidence: set[Position], found: Iterable[Memory]) -> float:
    return len(evidence & {(memory.conversation_id, memory.message_index) for memory in found}) / len(evidence)


def _count_quarters(text: str) -> int:
    return -(-len(text) // 4)


def _summarise(seconds: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1000
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def _read_memories(directory: Path) -> dict[str, list[Memory]]:
    """Every user's messages as verbatim memories, in the order of the file."""
    memories: dict[str, list[Memory]] = {}
    path = _find_conversations(directory)
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            conversation = msgspec.json.decode(line, type=_Conversation)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{path}, line {number}: not a conversation: {exc}") from exc
        memories.setdefault(conversation.user_id, []).extend(_list_turns(conversation))
    return memories


def _find_conversations(directory: Path) -> Path:
    for name in ("conversations.jsonl", "conversations.jsonl.gz"):
        if (directory / name).is_file():
            return directory / name
    raise ConfigError(f"{directory}: neither conversations.jsonl nor conversations.jsonl.gz is there")


def _read_lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc


def _list_turns(conversation: _Conversation) -> Iterator[Memory]:
    for index, said in enumerate(conversation.messages):
        yield Memory(
            id=f"{conversation.conversation_id}:{index}",
            user_id=conversation.user_id,
            kind="turn",
            role=said.role,
            text=said.content,
            created_at=said.created_at or conversation.started_at,
            conversation_id=conversation.conversation_id,
            message_index=index,
            name=said.name,
        )


def _read_questions(path: Path, memories: dict[str, list[Memory]]) -> list[Question]:
    try:
        questions = msgspec.json.decode(path.read_bytes(), type=list[Question])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not a list of questions: {exc}") from exc
    known = {user: {(m.conversation_id, m.message_index) for m in said} for user, said in memories.items()}
    for number, question in enumerate(questions, start=1):
        missing = set(question.evidence) - known.get(question.user_id, set())
        if missing:
            raise ConfigError(f"{path}, question {number} ({question.id}): no such message: {min(missing)}")
    return questions
