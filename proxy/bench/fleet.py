"""Several replicas behind nginx, on one Chroma server and one Redis: any of them is killed while chats go on."""

import asyncio
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

import msgspec
from uvicorn.loops.auto import auto_loop_factory

from proxy.bench.crowd import Crowd, Failure, Losses
from proxy.bench.durability import DRAWN, count_row, list_faults, review
from proxy.bench.engines import Engine, make_chroma, make_nginx, make_redis
from proxy.bench.load import Endpoint, work_together
from proxy.bench.manager import Manager
from proxy.bench.report import Row, percentile
from proxy.bench.servers import HOST, POLL_S, Conditions, start_talker
from proxy.bench.talker import Seen
from proxy.config import ENV_PREFIX
from proxy.reporting.charts import Span, Timeline

Hear = Callable[[str], None]
Member = Literal["replica", "keeper", "redis", "chroma"]
MEMBERS: Final[tuple[Member, ...]] = get_args(Member)

# How long an engine stays away, and the pause before the next kill, at the most.
AWAY_S: Final = 2.0
PAUSE_S: Final = 3.0
# nginx stamps the end of a request, and a kill is stamped by us: they differ by a moment.
SLACK_S: Final = 0.5
# How long all that was said may take to be stored when the killing is over.
CATCH_UP_S: Final = 120.0

_LINE: Final = re.compile(r'(?P<at>[\d.]+) [\d.]+ (?P<status>\d+) "(?P<number>[^"]*)" "(?P<replicas>[^"]*)"')


class Siege(msgspec.Struct, frozen=True, kw_only=True):
    """For how long whom to kill, and how many at the *least*: these first ones in turn, all others by chance."""

    seconds: float = 120
    seed: int = 5
    rate: float = 50  # chats that begin in a second
    replicas: int = 3
    members: tuple[Member, ...] = MEMBERS
    least: int = 0


class Kill(NamedTuple):
    """*address*: the replica's, as nginx calls it. Times in seconds since the epoch; *back*: it listened again."""

    member: Member
    address: str
    at: float
    back: float


class Relief(msgspec.Struct, frozen=True):
    """What the siege did. *unexplained* are chats that failed although the replica that served them did not die."""

    kills: list[Kill]
    crowd: Crowd
    losses: Losses
    unstored: int
    unexplained: list[Failure]
    seen: Seen
    catch_up_s: float


class Fleet:
    """All processes of it. *folder* is its own."""

    def __init__(self, upstream_url: str, folder: Path, conditions: Conditions, replicas: int) -> None:
        self.engines: Final[dict[Member, Engine]] = {"redis": make_redis(folder), "chroma": make_chroma(folder)}
        shared = {
            f"{ENV_PREFIX}JOURNAL__URL": f"redis://{HOST}:{self.engines['redis'].port}/0",
            f"{ENV_PREFIX}STORE__MODE": "http",
            f"{ENV_PREFIX}STORE__HOST": HOST,
            f"{ENV_PREFIX}STORE__PORT": str(self.engines["chroma"].port),
        }
        conditions = msgspec.structs.replace(conditions, variables={**conditions.variables, **shared})
        self.replicas: Final = [
            Manager(upstream_url, folder / f"replica-{number}", conditions) for number in range(replicas)
        ]
        self._nginx = make_nginx(folder, [replica.port for replica in self.replicas])
        self._access_log = folder / "access.log"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._nginx.port}"

    async def start(self) -> None:
        """Replicas first: they have to come up without what they need."""
        for replica in self.replicas:
            await replica.start()
        await self._nginx.start()
        for engine in self.engines.values():
            await engine.start()
        for replica in self.replicas:
            await replica.wait_ready()

    def read_access(self) -> Iterator[tuple[int, str, float]]:
        """Of every chat that nginx has brought to an end: its number, the replica that it went to last, and when."""
        for line in self._access_log.read_text().splitlines():
            if (match := _LINE.match(line)) and match["number"].isdigit():
                yield int(match["number"]), match["replicas"].split(", ")[-1], float(match["at"])

    def close(self) -> None:
        """Ends everything in order, the replicas first."""
        for replica in self.replicas:
            replica.close()
        for engine in (self._nginx, *self.engines.values()):
            engine.close()


async def besiege(siege: Siege, fleet: Fleet, talker_url: str, hear: Hear = lambda _: None) -> Relief:
    """Starts the fleet and kills its members at random moments under the load of a crowd.

    Raises:
        MemoryProxyError: something did not come back, or the memory could not be asked.
    """
    talker = Endpoint(talker_url)
    try:
        return await _besiege(siege, fleet, talker, hear)
    finally:
        talker.close()
        for replica in fleet.replicas:
            replica.control.hang_up()


async def _besiege(siege: Siege, fleet: Fleet, talker: Endpoint, hear: Hear) -> Relief:
    await fleet.start()
    crowd = Crowd(fleet.url, seed=siege.seed, rate=siege.rate, marked=True)
    besieger = _Besieger(siege, fleet)
    async with work_together() as group:
        group.create_task(crowd.talk())
        until = time.monotonic() + siege.seconds
        while (left := until - time.monotonic()) > 0 or len(besieger.kills) < siege.least:
            hear(f"{left:.0f} s to go, {len(besieger.kills)} killed")
            await besieger.strike()
        crowd.over = True
    began = time.monotonic()
    first = fleet.replicas[0]
    for replica in fleet.replicas:
        await replica.wait_ready()
    unstored = await _settle(fleet)
    took = time.monotonic() - began
    seen = await talker.call("GET", "/seen", {})
    return Relief(
        besieger.kills,
        crowd,
        await review(crowd, first),
        unstored,
        find_unexplained(crowd.failures, list(fleet.read_access()), besieger.kills),
        msgspec.json.decode(seen.body, type=Seen),
        took,
    )


async def _settle(fleet: Fleet) -> int:
    """Until nothing waits any more; what still does when patience ends."""
    deadline = time.monotonic() + CATCH_UP_S
    while True:
        left = max([(await replica.control.flush()).failed for replica in fleet.replicas])
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(POLL_S)


class _Besieger:
    """Kills, by a plan that a seed decides."""

    def __init__(self, siege: Siege, fleet: Fleet) -> None:
        self.kills: list[Kill] = []
        self._siege = siege
        self._fleet = fleet
        self._random = random.Random(siege.seed)  # noqa: S311  # repeatable, not secret

    async def strike(self) -> None:
        """Waits for a random moment, kills, and sees to it that what was killed is started again."""
        await asyncio.sleep(self._random.uniform(0, PAUSE_S))
        number, members = len(self.kills), self._siege.members
        member = members[number % len(members)] if number < self._siege.least else self._random.choice(members)
        if member in self._fleet.engines:
            engine = self._fleet.engines[member]
            at = time.time()
            await engine.kill()
            await asyncio.sleep(self._random.uniform(0, AWAY_S))
            await engine.start()
            self.kills.append(Kill(member, "", at, time.time()))
            return
        replica = self._random.choice(self._fleet.replicas)
        at = time.time()
        await replica.kill("edge" if member == "replica" else "keeper")
        self.kills.append(Kill(member, f"{HOST}:{replica.port}", at, time.time()))


def find_unexplained(failures: list[Failure], served: list[tuple[int, str, float]], kills: list[Kill]) -> list[Failure]:
    """The failures of chats whose own replica was not killed while it served them."""
    replicas: defaultdict[int, list[tuple[str, float]]] = defaultdict(list)
    for number, address, at in served:
        replicas[number].append((address, at))
    deaths: defaultdict[str, list[float]] = defaultdict(list)
    for kill in kills:
        if kill.member == "replica":
            deaths[kill.address].append(kill.at)

    def died(failure: Failure) -> bool:
        return any(
            failure.began - SLACK_S <= death <= failure.ended + SLACK_S
            for address, ended in replicas[failure.number]
            if failure.began - SLACK_S <= ended <= failure.ended + SLACK_S
            for death in deaths[address]
        )

    return [failure for failure in failures if not died(failure)]


def run_siege(siege: Siege, folder: Path, conditions: Conditions, hear: Hear = lambda _: None) -> Relief:
    """:func:`besiege` with processes of its own in a new *folder*; they are gone when it returns."""
    folder.mkdir()
    with (
        start_talker() as upstream,
        closing(Fleet(upstream.url(), folder, conditions, siege.replicas)) as fleet,
        # The loop that servers have, too: uvloop where it is installed.
        asyncio.Runner(loop_factory=auto_loop_factory()) as runner,
    ):
        return runner.run(besiege(siege, fleet, upstream.url(), hear))


def list_siege_rows(relief: Relief) -> list[Row]:
    """All that a run tells."""
    killed = Counter(kill.member for kill in relief.kills)
    crowd, failed = relief.crowd, len(relief.crowd.failures)
    chats = f"of {crowd.begun:,} chats"
    excused = failed - len(relief.unexplained)
    return [
        *(count_row(f"kills of a {member}", killed[member], "SIGKILL") for member in MEMBERS if killed[member]),
        Row(name="chats offered", value=crowd.begun / crowd.seconds, unit="/s", meaning="through nginx"),
        count_row("chats seen to their end", crowd.finished, "each should be stored once, question and answer"),
        count_row("broken with their replica", excused, f"{chats}: it was killed while it served them"),
        count_row("failed otherwise", len(relief.unexplained), f"{chats}: whatever else was killed", target=0),
        *list_faults(crowd, relief.losses, relief.unstored),
        count_row("chats with memories", relief.seen.remembered, f"of {relief.seen.chats:,} that came upstream"),
        count_row("leaks", relief.seen.mixed, "prompts that had words of two users in them", target=0),
        Row(name="caught up", value=relief.catch_up_s, unit="s", meaning="all stored, after the last kill"),
        Row(
            name="back, p50",
            value=percentile([kill.back - kill.at for kill in relief.kills], 50),
            unit="s",
            meaning="killed until it accepts connections again, engines with the time that they stay away",
        ),
    ]


def draw_siege(relief: Relief) -> Timeline:
    """What was away when, and what became of chats meanwhile."""
    began = relief.crowd.started
    addresses = sorted({kill.address for kill in relief.kills if kill.address})
    names = {address: f" {number}" for number, address in enumerate(addresses, start=1)} | {"": ""}
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for kill in relief.kills[:DRAWN]:
        spans[f"{kill.member}{names[kill.address]}"].append(Span(kill.at - began, kill.back - began))
    shown = f"The first {DRAWN:,} of {len(relief.kills):,} kills. " if len(relief.kills) > DRAWN else ""
    return relief.crowd.draw(
        "Kills, and what became of chats meanwhile",
        f"{shown}Below: from a kill until what was killed accepts connections again; of a keeper, which its edge "
        "starts again, the moment. A replica takes the chats along that it is serving; nothing else may cost one.",
        {lane: spans[lane] for lane in sorted(spans)},
    )
