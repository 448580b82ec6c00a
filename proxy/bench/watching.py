"""What it costs to see: CPU time a request with metrics, logs and spans, against the same proxy that counts nothing."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from uvicorn.loops.auto import auto_loop_factory

from proxy.bench.chats import ANONYMOUS, REMEMBERED, USER, Chats
from proxy.bench.control import Control
from proxy.bench.corpus import Babble, chat_body
from proxy.bench.cost import Spent, Way, alternate
from proxy.bench.load import Answer, Ask, Endpoint
from proxy.bench.plan import Plan
from proxy.bench.processes import Child, neutral_environment
from proxy.bench.report import Report, Row, percentile, ratio
from proxy.bench.servers import USER_HEADER, Conditions, start_upstream
from proxy.bench.stores import fill_store
from proxy.reporting.charts import Axis, Bound, Strips

# Who say something new each time, so that it is stored.
TALKERS: Final = 50
WORDS: Final = 30
KINDS: Final = {
    "relayed": "no user",
    "remembered": "a user of 1,000 memories, mode read",
    "stored": "one of 50 users says something new, which is recalled for and stored; edge and keeper together",
}
EYES: Final = ("blind", "usual", "watched")
MEANINGS: Final = {
    "usual": "as it comes: metrics, measures and request ids",
    "watched": "with a log line for every request and spans as well, sampled all, exported nowhere",
}
MUST: Final = 1.08


def run_watching(plan: Plan, folder: Path, conditions: Conditions) -> Report:
    """Starts three proxies on stores alike, and asks them in turn."""
    folder.mkdir()
    with ExitStack() as stack:
        upstream = stack.enter_context(start_upstream())
        proxies: dict[str, Child] = {}
        for eyes in EYES:
            data_dir = folder / eyes
            fill_store(data_dir, {USER: plan.memories}, conditions)
            proxies[eyes] = stack.enter_context(_start(eyes, upstream.url(), data_dir))
        runner = stack.enter_context(asyncio.Runner(loop_factory=auto_loop_factory()))
        return runner.run(_measure(proxies, plan, conditions))


def _start(eyes: str, upstream_url: str, data_dir: Path) -> Child:
    # Alike in all but what is measured: how a process was started, and how its dicts fall out, may cost it as much.
    environment = {**neutral_environment(), "PYTHONHASHSEED": "0"}
    return Child("proxy.bench.blind", eyes, upstream_url, str(data_dir), environment=environment)


async def _measure(proxies: dict[str, Child], plan: Plan, conditions: Conditions) -> Report:
    chats = Chats()
    endpoints = {eyes: Endpoint(proxy.url()) for eyes, proxy in proxies.items()}
    ways: dict[str, Way] = {}
    for eyes, endpoint in endpoints.items():
        control = Control(endpoint, conditions.admin_headers)
        await control.wait_ready()
        asked = {"relayed": chats.whole(endpoint), "remembered": chats.whole(endpoint, REMEMBERED)}
        for kind, ask in asked.items():
            ways[f"{eyes} {kind}"] = Way(ask, proxies[eyes], plan.chats, plan.concurrency)
        ways[f"{eyes} stored"] = Way(_tell(endpoint), proxies[eyes], plan.chats, plan.concurrency, control)
    spent = await alternate(ways, plan.rounds)
    for endpoint in endpoints.values():
        endpoint.close()
    return _compare(spent)


def _compare(spent: Spent) -> Report:
    rows: list[Row] = []
    rounds: dict[str, list[float]] = {}
    for kind, what in KINDS.items():
        blind = spent[f"blind {kind}"]
        for eyes, meaning in MEANINGS.items():
            ratios = [ratio(cost, base) for cost, base in zip(spent[f"{eyes} {kind}"], blind, strict=True)]
            known = [value for value in ratios if value is not None]
            must = MUST if eyes == "usual" or kind == "stored" else None
            told = f"{meaning}; CPU time against a proxy that counts nothing, median of {len(known)} rounds; {what}"
            name = f"{kind} request, {eyes}"
            rows.append(Row(name=name, value=percentile(known, 50), unit="×", target=must, meaning=told))
            rounds[name] = known
    return Report(rows, _draw_rounds(rows, rounds))


def _draw_rounds(rows: Sequence[Row], rounds: Mapping[str, list[float]]) -> list[Strips]:
    """Nothing where the machine does not tell."""
    if not all(rounds.values()):
        return []
    return [
        Strips(
            title="CPU time against a proxy that counts nothing",
            caption="A dot is one round, the stroke their median. At 1 it costs nothing to see what the proxy does.",
            x=Axis(label="watched : blind", unit="×", scale="linear"),
            rows=rounds,
            bounds={row.name: [Bound(row.target, "must")] for row in rows if row.target is not None},
        )
    ]


def _tell(endpoint: Endpoint) -> Ask:
    """Chats that say something new each time, the same on every way."""
    babble = Babble("watching")

    def ask(number: int) -> Awaitable[Answer]:
        headers = {**ANONYMOUS, USER_HEADER: f"{USER} {number % TALKERS}"}
        return endpoint.chat(chat_body(babble.text(WORDS)), headers)

    return ask
