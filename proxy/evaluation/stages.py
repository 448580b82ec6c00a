"""How the parts of an evaluation follow each other: one user at a time, and at the end the clock."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from proxy.embedders.local import LocalEmbedder
from proxy.evaluation.archive import Archive, UnstoredArchive, open_store_archive
from proxy.evaluation.asking import Asker, Witness
from proxy.evaluation.dataset import APART, DataSet, read_data_set, read_questions
from proxy.evaluation.digression import Digressions
from proxy.evaluation.examination import BUDGETS, Examination, locate, make_curve, summarise
from proxy.evaluation.replay import Replays
from proxy.evaluation.report import Report
from proxy.evaluation.statistics import Interval
from proxy.evaluation.strangers import Strangers
from proxy.evaluation.timing import SIZES, Timing, measure_timing, summarise_ms
from proxy.reporting.charts import Sample
from proxy.workingset import WorkingSet

# What a plot shows; steps grow because shares do not.
CURVE_BUDGETS: Final = (100, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 4000)

# Hears which stage is at how many of how many.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure. *quick* leaves out the store, the replays and the clock; *others* is another data set's folder.

    *curve_budgets* are those of :attr:`Report.curves`; with none there are no curves. *sizes* are how many memories
    the timed user has.
    """

    budgets: Sequence[int] = BUDGETS
    curve_budgets: Sequence[int] = ()
    sizes: Sequence[int] = SIZES
    quick: bool = False
    others: Path | None = None


def evaluate(directory: Path, plan: Plan | None = None, progress: Progress = lambda _stage, _done, _of: None) -> Report:
    """Score recall on the data set in *directory*.

    Questions are asked one by one of a user's whole set, by their text and the time of asking. A token is four
    characters here, so that figures compare between models.

    Raises:
        ConfigError: the files cannot be read; names file and line.
        StoreError, EmbedderError: what the evaluation needs itself does not work.
    """
    plan = plan or Plan()
    data_set = read_data_set(directory)
    return asyncio.run(Evaluation(data_set, plan, _read_others(plan), progress).run())


def _read_others(plan: Plan) -> list[str]:
    return [question.question for question in read_questions(plan.others / "questions.json")] if plan.others else []


class Evaluation:
    """One run over one data set."""

    def __init__(self, data_set: DataSet, plan: Plan, others: Sequence[str], progress: Progress) -> None:
        self._data_set = data_set
        self._plan = plan
        self._progress = progress
        self._embedder = LocalEmbedder()
        self._witness = Witness()
        self._examination = Examination(tuple(dict.fromkeys((*plan.budgets, *plan.curve_budgets))))
        self._strangers = Strangers(others)
        self._replays = Replays(self._embedder, self._witness)
        self._digressions = Digressions(self._embedder, self._witness)

    async def run(self) -> Report:
        """Everything that is planned."""
        memories = self._data_set.memories
        async with self._open_archive() as archive:
            for done, user_id in enumerate(memories, start=1):
                await self._visit(archive, user_id)
                self._progress("users", done, len(memories))
        timing, samples = (None, {}) if self._plan.quick else await self._time()
        return self._report(timing, samples)

    @asynccontextmanager
    async def _open_archive(self) -> AsyncIterator[Archive]:
        memories = self._data_set.memories
        if self._plan.quick:
            yield UnstoredArchive(memories, self._embedder)
            return
        filled = partial(self._tell, "stored", len(memories))
        async with open_store_archive(memories, filled) as archive:
            yield archive

    def _tell(self, stage: str, total: int, done: int) -> None:
        self._progress(stage, done, total)

    async def _visit(self, archive: Archive, user_id: str) -> None:
        """All that is measured of one user."""
        said = self._data_set.memories[user_id]
        pack = await archive.load(user_id)
        self._witness.enrol(user_id, said)
        asker = Asker(user_id, WorkingSet.from_pack(pack), self._embedder, self._witness)
        # What is made when first asked for, a user's first request pays and no other.
        asker.find(asker.make_query(said[0].text))
        questions = self._data_set.questions_of(user_id)
        places = {locate(memory): memory for memory in said}
        for question in questions:
            self._examination.ask(asker, question, places)
        self._strangers.visit(asker)
        if not self._plan.quick:
            conversations = self._data_set.conversations[user_id]
            await self._replays.visit(user_id, pack, conversations)
            await self._digressions.visit(user_id, pack, conversations, questions)

    async def _time(self) -> tuple[Timing, dict[str, Sample]]:
        questions = [question.question for question in self._data_set.questions]
        sizes, done = self._plan.sizes, partial(self._tell, "sizes timed", len(self._plan.sizes))
        return await measure_timing(self._data_set.memories, questions, self._embedder, sizes=sizes, progress=done)

    def _report(self, timing: Timing | None, samples: Mapping[str, Sample]) -> Report:
        outcomes, budgets, quick = self._examination.outcomes, self._plan.budgets, self._plan.quick
        counted = [outcome for name, some in outcomes.items() if name not in APART for outcome in some]
        scores = {name: summarise(outcomes[name], budgets) for name in sorted(outcomes)}
        return Report(
            users=len(self._data_set.memories),
            memories=sum(map(len, self._data_set.memories.values())),
            left_out=sum(not question.evidence for question in self._data_set.questions),
            overall=summarise(counted, budgets),
            types={name: score for name, score in scores.items() if name not in APART},
            apart={name: score for name, score in scores.items() if name in APART},
            recall_ms=summarise_ms(self._examination.wall_s),
            cpu_ms=summarise_ms(self._examination.cpu_s),
            relevance=self._strangers.report(),
            curves=self._draw_curves(),
            isolation=None if quick else self._witness.report(),
            replays=None if quick else self._replays.report(),
            digressions=None if quick else self._digressions.report(),
            timing=timing,
            ranks=Counter(rank for outcome in counted for rank in outcome.ranks),
            samples={"each question": Sample.of(self._examination.wall_s, scale=1000), **samples},
        )

    def _draw_curves(self) -> dict[str, dict[int, Interval]]:
        """Share against budget of each type that counts, and of all together."""
        budgets = self._plan.curve_budgets
        if not budgets:
            return {}
        counted = {name: self._examination.outcomes[name] for name in sorted(self._examination.outcomes)}
        counted = {name: outcomes for name, outcomes in counted.items() if name not in APART}
        curves = {name: make_curve(outcomes, budgets) for name, outcomes in counted.items()}
        whole = [outcome for outcomes in counted.values() for outcome in outcomes]
        return {**curves, "all": make_curve(whole, budgets)}
