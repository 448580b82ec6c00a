"""Clients for Node: one process that runs the steps of ``node/*.mjs``, told line by line what to run."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.harness.upstream import within

HERE = Path(__file__).parent / "node"
INSTALL = "apt-get install nodejs npm && npm ci --prefix tests/sdk/node"
# An answer holds what a client was given: a few hundred kilobytes of sound in base64.
LONGEST_LINE = 1 << 24


def is_installed() -> bool:
    return shutil.which("node") is not None and (HERE / "node_modules").is_dir()


class Worker:
    """The process. One thing runs at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._stdout = process.stdout

    async def run(self, client: str, steps: str, base_url: str, headers: Mapping[str, str]) -> Any:
        """What the function *steps* of ``node/<client>.mjs`` returned, or the exception that it threw."""
        job = {"client": client, "steps": steps, "baseURL": base_url, "headers": dict(headers)}
        self._stdin.write(json.dumps(job).encode() + b"\n")
        await self._stdin.drain()
        return json.loads(await within(self._stdout.readline()))


@asynccontextmanager
async def open_worker() -> AsyncIterator[Worker]:
    """A process that ends with the context."""
    process = await asyncio.create_subprocess_exec(
        "node",
        HERE / "worker.mjs",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    try:
        yield Worker(process)
    finally:
        process.kill()
        await process.communicate()
