"""Kills at random moments under load, and what is remembered afterwards of what clients have seen the end of."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from uvicorn.loops.auto import auto_loop_factory

from proxy.bench.crowd import Crowd, Losses
from proxy.bench.load import work_together
from proxy.bench.manager import VICTIMS, Manager, Victim
from proxy.bench.report import Row, percentile
from proxy.bench.servers import Conditions, start_talker
from proxy.reporting.charts import Span, Timeline

Hear = Callable[[str], None]
DRAWN: Final = 1000  # kills in a picture
_NAMES: Final[dict[Victim, str]] = {"edge": "the edge", "keeper": "the keeper", "both": "both at once"}


class Ordeal(msgspec.Struct, frozen=True, kw_only=True):
    """How often whom to kill. After each kill chats go on for up to *longest_s* seconds, all moments alike.

    *patience*: the share of kills after which the next one waits until there is a keeper at work; the others may well
    hit one that is just starting.
    """

    kills: int = 300
    seed: int = 5
    rate: float = 50  # chats that begin in a second
    victims: Sequence[Victim] = VICTIMS
    longest_s: float = 2.0
    patience: float = 0.5


class Strike(NamedTuple):
    """One kill, in seconds since the epoch. *back*: an edge listened; *ready*: a keeper was at work, if waited for."""

    victim: Victim
    at: float
    back: float
    ready: float | None


class Aftermath(msgspec.Struct, frozen=True):
    """What the kills did. *away* are seconds until the edge, or the keeper, was back."""

    strikes: list[Strike]
    crowd: Crowd
    losses: Losses
    unstored: int

    @property
    def kills(self) -> Counter[Victim]:
        return Counter(strike.victim for strike in self.strikes)

    @property
    def edge_away(self) -> list[float]:
        return [strike.back - strike.at for strike in self.strikes if strike.victim != "keeper"]

    @property
    def keeper_away(self) -> list[float]:
        return [strike.ready - strike.at for strike in self.strikes if strike.ready is not None]


async def endure(ordeal: Ordeal, manager: Manager, hear: Hear = lambda _: None) -> Aftermath:
    """Starts the proxy, kills it as often as planned under the load of a crowd, and compares.

    Raises:
        MemoryProxyError: it did not come back, or its memory could not be asked.
    """
    await manager.start()
    await manager.wait_ready()
    crowd = Crowd(manager.url, seed=ordeal.seed, rate=ordeal.rate)
    executioner = _Executioner(ordeal, manager)
    async with work_together() as group:
        group.create_task(crowd.talk())
        for number in range(1, ordeal.kills + 1):
            await executioner.strike()
            hear(f"kill {number:,} of {ordeal.kills:,}")
        await executioner.pause()
        crowd.over = True
    await manager.wait_ready()
    unstored = (await manager.control.flush()).failed
    return Aftermath(executioner.strikes, crowd, await review(crowd, manager), unstored)


class _Executioner:
    """Kills, by a plan that a seed decides."""

    def __init__(self, ordeal: Ordeal, manager: Manager) -> None:
        self.strikes: list[Strike] = []
        self._ordeal = ordeal
        self._manager = manager
        self._random = random.Random(ordeal.seed)  # noqa: S311  # repeatable, not secret

    async def pause(self) -> None:
        await asyncio.sleep(self._random.uniform(0, self._ordeal.longest_s))

    async def strike(self) -> None:
        """Waits for a random moment, kills, and sees to it that there is an edge again."""
        await self.pause()
        victim = self._random.choice(self._ordeal.victims)
        patient = self._random.random() < self._ordeal.patience
        at = time.time()
        await self._manager.kill(victim)
        back = time.time()
        if patient:
            await self._manager.wait_ready()
        self.strikes.append(Strike(victim, at, back, time.time() if patient else None))


async def review(crowd: Crowd, manager: Manager) -> Losses:
    """What is wrong with what is stored of everybody."""
    every = [crowd.review(user, await manager.control.memories(user)) for user in crowd.users]
    return Losses(
        lost=sum(losses.lost for losses in every),
        doubled=sum(losses.doubled for losses in every),
        invented=sum(losses.invented for losses in every),
    )


def run_ordeal(ordeal: Ordeal, data_dir: Path, conditions: Conditions, hear: Hear = lambda _: None) -> Aftermath:
    """:func:`endure` with processes of its own, on a new *data_dir*; they are gone when it returns."""
    with start_talker() as upstream:
        manager = Manager(upstream.url(), data_dir, conditions)
        # The loop that servers have, too: uvloop where it is installed.
        with asyncio.Runner(loop_factory=auto_loop_factory()) as runner, closing(manager):
            return runner.run(endure(ordeal, manager, hear))


def list_rows(after: Aftermath) -> list[Row]:
    """All that a run of its own tells."""
    crowd, chats = after.crowd, f"of {after.crowd.begun:,} chats that clients began"
    up_s = crowd.seconds - sum(after.edge_away)
    return [
        *(
            count_row(f"kills of {_NAMES[victim]}", after.kills[victim], "SIGKILL to the process group")
            for victim in VICTIMS
        ),
        Row(
            name="chats offered",
            value=crowd.begun / crowd.seconds,
            unit="/s",
            meaning="whether anybody listened or not",
        ),
        Row(
            name="chats taken", value=(crowd.begun - crowd.refused) / up_s, unit="/s", meaning="while an edge listened"
        ),
        count_row("chats seen to their end", crowd.finished, "each should be stored once, question and answer"),
        count_row("broken chats", crowd.broken, f"{chats}: the connection ended before the answer"),
        count_row("refused chats", crowd.refused, f"{chats}: while no edge listened"),
        *list_faults(after.crowd, after.losses, after.unstored),
        *_list_times("edge", after.edge_away, "killed until it listens again"),
        *_list_times("keeper", after.keeper_away, "something killed until a keeper is at work again"),
    ]


def list_keeper_rows(after: Aftermath) -> list[Row]:
    """What matters where nobody but the keeper was killed: no chat may notice."""
    failed = after.crowd.broken + after.crowd.refused
    away = max(after.keeper_away, default=None)
    chats = f"of {after.crowd.begun:,} chats while the keeper is killed"
    return [
        count_row("failed chats", failed, chats, target=0),
        *list_faults(after.crowd, after.losses, after.unstored),
        Row(name="keeper back", value=away, unit="s", target=3, meaning="killed until ready again, the longest"),
    ]


def list_faults(crowd: Crowd, losses: Losses, unstored: int) -> list[Row]:
    """What may not be after any kill."""
    whole = "messages of chats whose end a client has seen"
    return [
        count_row("wrong answers", crowd.wrong, "another status, or other bytes, than upstream's", target=0),
        count_row("lost", losses.lost, f"{whole}, not stored", target=0),
        count_row("stored twice", losses.doubled, "messages", target=0),
        count_row("stored, never said", losses.invented, "messages", target=0),
        count_row("not storable", unstored, "exchanges that the last flush left in the journal", target=0),
    ]


def draw_kills(after: Aftermath) -> Timeline:
    """What was away when, and what became of chats meanwhile."""
    began = after.crowd.started
    lanes: dict[str, list[Span]] = {"edge": [], "keeper": []}
    for victim, at, back, ready in after.strikes[:DRAWN]:
        if victim != "keeper":
            lanes["edge"].append(Span(at - began, back - began))
        if victim != "edge" or ready is not None:
            lanes["keeper"].append(Span(at - began, (at if ready is None else ready) - began))
    shown = f"The first {DRAWN:,} of {len(after.strikes):,} kills. " if len(after.strikes) > DRAWN else ""
    return after.crowd.draw(
        "Kills, and what became of chats meanwhile",
        f"{shown}Below: from a kill until an edge listens again, and until a keeper is at work again where that was "
        "waited for; else the stroke is the moment of the kill. Without an edge chats fail; without a keeper none may.",
        lanes,
    )


def _list_times(what: str, seconds: Sequence[float], meaning: str) -> list[Row]:
    return [
        Row(name=f"{what} back, p50", value=percentile(seconds, 50), unit="s", meaning=meaning),
        Row(name=f"{what} back, longest", value=max(seconds, default=None), unit="s", meaning=meaning),
    ]


def count_row(name: str, value: int, meaning: str, *, target: float | None = None) -> Row:
    """A row that counts something."""
    return Row(name=name, value=value, unit="", meaning=meaning, target=target)
