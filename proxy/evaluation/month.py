"""A month with a chatbot: all conversations held through the proxy, once clean and once as real clients send them."""

import asyncio
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.embedders.local import LocalEmbedder
from proxy.evaluation.asking import DEFAULT_BUDGET, Asker, Witness
from proxy.evaluation.client import Client, Sitting, list_turns
from proxy.evaluation.dataset import Conversation, DataSet, Position, Question, read_data_set
from proxy.evaluation.diary import Verdict, count_readable
from proxy.evaluation.disturbance import DISTURBANCES, deal
from proxy.evaluation.live import LiveProxy, open_live_proxy
from proxy.evaluation.noise import Dice
from proxy.evaluation.statistics import Interval, mean_interval
from proxy.models import Memory

# Hears which stage is at how many of how many.
Progress = Callable[[str, int, int], None]

_FIRST: Final = 10
# Users at once: while one waits for the keeper, another one talks.
_AT_ONCE: Final = 4


class MonthPlan(msgspec.Struct, frozen=True, kw_only=True):
    """*users*: so many of the set, drawn by *seed*; by default all. *noise*: the part of turns with a disturbance."""

    users: int | None = None
    seed: int = 5
    noise: float = 0.4


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One month of all users. *verdict* is of all of them; *readable* counts secrets that stand in a file on disk.

    *share*: of the questions' evidence, what is inside a block of the default budget; *first*: among the ten best.
    *intervals* are theirs, in this order; none without questions.
    """

    requests: int
    verdict: Verdict
    secrets: int
    readable: int
    share: float
    first: float
    statuses: dict[str, Counter[str]]
    intervals: Sequence[Interval] = ()


class MonthReport(msgspec.Struct, frozen=True, kw_only=True):
    """Both months. *disturbances*: how many of each kind the noisy one had."""

    users: int
    conversations: int
    questions: int
    clean: Run
    noisy: Run
    disturbances: Counter[str]

    @property
    def share_lost(self) -> float:
        """The part of the evidence inside blocks that noise costs."""
        return _lose(self.clean.share, self.noisy.share)

    @property
    def first_lost(self) -> float:
        """The same among the ten best."""
        return _lose(self.clean.first, self.noisy.first)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        for run in (plain["clean"], plain["noisy"]):
            del run["intervals"]  # they are there to be drawn
        return {**plain, "share_lost": self.share_lost, "first_lost": self.first_lost}


def evaluate_month(
    directory: Path, plan: MonthPlan | None = None, progress: Progress = lambda _stage, _done, _of: None
) -> MonthReport:
    """Hold the conversations of the data set in *directory* again, request by request, and look at what is stored.

    Raises:
        ConfigError: the files cannot be read; names file and line.
        MemoryProxyError: the proxy does not work.
    """
    return asyncio.run(Months(read_data_set(directory), plan or MonthPlan(), progress).run())


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one user's month came to. *scores*: share and R@10 of each question."""

    client: Client
    verdict: Verdict
    scores: list[tuple[float, float]]


class Months:
    """Both months over one data set."""

    def __init__(self, data_set: DataSet, plan: MonthPlan, progress: Progress) -> None:
        self._data_set = data_set
        self._plan = plan
        self._progress = progress
        self._users = _draw(list(data_set.conversations), plan)
        self._embedder = LocalEmbedder()
        self._cards = dict(self._deal())

    async def run(self) -> MonthReport:
        """The clean one first."""
        clean, noisy = await self._hold(noisy=False), await self._hold(noisy=True)
        return MonthReport(
            users=len(self._users),
            conversations=sum(len(self._data_set.conversations[user]) for user in self._users),
            questions=sum(len(self._data_set.questions_of(user)) for user in self._users),
            clean=clean,
            noisy=noisy,
            disturbances=Counter(self._cards.values()),
        )

    def _deal(self) -> Iterator[tuple[Position, str]]:
        """Which turns are disturbed, by their first message, and how: beforehand, since users talk at the same time."""
        dice = Dice(f"{self._plan.seed}")
        cards = deal(dice)
        for user in self._users:
            for conversation in self._data_set.conversations[user]:
                for turn in list_turns(conversation)[1]:
                    if dice.random.random() < self._plan.noise:
                        yield turn.places[0], next(cards)

    async def _hold(self, *, noisy: bool) -> Run:
        with tempfile.TemporaryDirectory(prefix="memory-proxy-eval-") as name:
            async with open_live_proxy(Path(name)) as live:
                outcomes = await self._live_together(live, noisy=noisy)
            secrets = [secret for outcome in outcomes for secret in outcome.client.diary.secrets]
            readable = await asyncio.to_thread(count_readable, Path(name), secrets)
        return _sum_up(outcomes, len(secrets), readable)

    async def _live_together(self, live: LiveProxy, *, noisy: bool) -> list[_Outcome]:
        """Everybody's month, a few at a time."""
        outcomes: list[_Outcome] = []
        waiting = iter(self._users)

        async def work() -> None:
            for user in waiting:
                outcomes.append(await self._live(live, user, noisy=noisy))
                self._progress("noisy months" if noisy else "clean months", len(outcomes), len(self._users))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(work())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return outcomes

    async def _live(self, live: LiveProxy, user_id: str, *, noisy: bool) -> _Outcome:
        """One user's month, and what is left of it."""
        client = Client(user_id, live, Dice(f"{self._plan.seed} {user_id}"))
        conversations = sorted(self._data_set.conversations[user_id], key=lambda talk: talk.started_at)
        for conversation in conversations:
            await self._converse(client, conversation, noisy=noisy)
            await live.flush()
        memories = await live.memories(user_id)
        return _Outcome(client, client.diary.judge(memories), await self._examine(client))

    async def _converse(self, client: Client, conversation: Conversation, *, noisy: bool) -> None:
        greeting, turns = list_turns(conversation)
        # Half of the clients say which conversation it is.
        named = Dice(f"{self._plan.seed} {conversation.id}").random.random() < 0.5
        sitting = Sitting(client, conversation.started_at, conversation.id if named else None)
        sitting.history = [{"role": "assistant", "content": text} for text in greeting]
        for turn in turns:
            card = self._cards.get(turn.places[0]) if noisy else None
            await (DISTURBANCES[card](sitting, turn) if card else sitting.hold(turn))

    async def _examine(self, client: Client) -> list[tuple[float, float]]:
        """Share of the evidence inside a block, and among the ten best, for each of the user's questions."""
        questions = self._data_set.questions_of(client.user_id)
        witness = Witness()
        witness.enrol(client.user_id, [])
        asker = Asker(client.user_id, await client.live.load(client.user_id), self._embedder, witness)
        return [self._score(client, asker, question) for question in questions if not question.is_apart]

    def _score(self, client: Client, asker: Asker, question: Question) -> tuple[float, float]:
        query = asker.make_query(question.question, question.asked_at)
        block = asker.find(query, DEFAULT_BUDGET)
        shown = block.memories if block else []
        return _share(client, question, shown), _share(client, question, asker.rank(query, _FIRST))


def _share(client: Client, question: Question, found: Sequence[Memory]) -> float:
    places = set().union(*map(client.diary.locate, found))
    return len(places & set(question.evidence)) / len(set(question.evidence))


def _draw(users: list[str], plan: MonthPlan) -> list[str]:
    if plan.users is None or plan.users >= len(users):
        return users
    return random.Random(plan.seed).sample(users, plan.users)  # noqa: S311  # repeatable, not secret


def _sum_up(outcomes: Sequence[_Outcome], secrets: int, readable: int) -> Run:
    statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        for label, counted in outcome.client.statuses.items():
            statuses[label] += counted
    scores = [score for outcome in outcomes for score in outcome.scores]
    intervals = [mean_interval(values) for values in zip(*scores, strict=True)]
    share, first = (interval.mean for interval in intervals) if intervals else (0.0, 0.0)
    return Run(
        requests=sum(counted.total() for counted in statuses.values()),
        verdict=_add([outcome.verdict for outcome in outcomes]),
        secrets=secrets,
        readable=readable,
        share=share,
        first=first,
        statuses=dict(statuses),
        intervals=intervals,
    )


def _add(verdicts: Sequence[Verdict]) -> Verdict:
    def total(tables: Iterator[Mapping[str, int]]) -> Counter[str]:
        return sum((Counter(table) for table in tables), Counter[str]())

    return Verdict(
        units=sum(verdict.units for verdict in verdicts),
        unsupported=total(verdict.unsupported for verdict in verdicts),
        abandoned=total(verdict.abandoned for verdict in verdicts),
        junk=total(verdict.junk for verdict in verdicts),
        copies=sum(verdict.copies for verdict in verdicts),
        secrets=sum(verdict.secrets for verdict in verdicts),
    )


def _lose(clean: float, noisy: float) -> float:
    return (clean - noisy) / clean if clean else 0.0
