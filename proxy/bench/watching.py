"""What it costs to see: CPU time a request with metrics, logs and spans, against the same proxy that counts nothing."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from uvicorn.loops.auto import auto_loop_factory

from proxy.bench.chats import ANONYMOUS, REMEMBERED, USER, Chats
from proxy.bench.control import Control
from proxy.bench.cost import Way, alternate
from proxy.bench.load import Endpoint
from proxy.bench.plan import Plan
from proxy.bench.processes import Child, neutral_environment
from proxy.bench.report import Row, percentile, ratio
from proxy.bench.servers import USER_HEADER, Conditions, start_upstream
from proxy.bench.stores import fill_store

# Recalled for and stored: what a request of a user costs from end to end.
STORED: Final = {**ANONYMOUS, USER_HEADER: USER}
KINDS: Final = {
    "relayed": "no user",
    "remembered": "a user of 1,000 memories, mode read",
    "stored": "the same, mode full",
}
EYES: Final = ("blind", "usual", "watched")
MEANINGS: Final = {
    "usual": "as it comes: metrics, measures and request ids",
    "watched": "with a log line for every request and spans as well, sampled all, exported nowhere",
}
MUST: Final = 1.08


def run_watching(plan: Plan, folder: Path, conditions: Conditions) -> list[Row]:
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


async def _measure(proxies: dict[str, Child], plan: Plan, conditions: Conditions) -> list[Row]:
    chats = Chats()
    endpoints = {eyes: Endpoint(proxy.url()) for eyes, proxy in proxies.items()}
    ways: dict[str, Way] = {}
    for eyes, endpoint in endpoints.items():
        await Control(endpoint, conditions.admin_headers).wait_ready()
        asked = {"relayed": ANONYMOUS, "remembered": REMEMBERED, "stored": STORED}
        for kind, headers in asked.items():
            ways[f"{eyes} {kind}"] = Way(chats.whole(endpoint, headers), proxies[eyes], plan.chats, plan.concurrency)
    spent = await alternate(ways, plan.rounds)
    for endpoint in endpoints.values():
        endpoint.close()
    rows = []
    for kind, what in KINDS.items():
        blind = spent[f"blind {kind}"]
        for eyes, meaning in MEANINGS.items():
            ratios = [ratio(cost, base) for cost, base in zip(spent[f"{eyes} {kind}"], blind, strict=True)]
            known = [value for value in ratios if value is not None]
            must = MUST if eyes == "usual" or kind == "stored" else None
            told = f"{meaning}; CPU time against a proxy that counts nothing, median of {len(known)} rounds; {what}"
            rows.append(
                Row(name=f"{kind} request, {eyes}", value=percentile(known, 50), unit="×", target=must, meaning=told)
            )
    return rows
