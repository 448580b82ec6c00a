"""Processes of our own that this one starts: they get what they need over standard input, whose end is theirs."""

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from proxy.errors import MemoryProxyError

# Where this package lies.
PACKAGES: Final = Path(__file__).parents[1]


async def start(
    module: str,
    order: object,
    *,
    environ: Mapping[str, str] | None = None,
    files: Sequence[int] = (),
    stdout: int | None = None,
) -> Process:
    """Runs *module*, which finds *order* on its standard input. It inherits the open *files*.

    It gets a session of its own: a terminal's Ctrl-C is for this process, which decides when it ends.

    Raises:
        OSError: it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        module,
        stdin=PIPE,
        stdout=stdout,
        start_new_session=True,
        env=_environment(environ or {}),
        pass_fds=files,
    )
    if process.stdin is None:
        raise MemoryProxyError(f"{module} was started without standard input")
    with suppress(RuntimeError):  # uvloop's word for a process that is gone already, which its starter will see
        process.stdin.write(pickle.dumps(order))
    return process


def read_order(file: IO[bytes]) -> object:
    """What the process that started this one wants, None where that was somebody else."""
    try:
        return pickle.load(file)  # noqa: S301  # written by our own parent process
    except (EOFError, pickle.UnpicklingError):
        return None


async def end(process: Process, *, within_s: float) -> None:
    """Ends a process: kindly, by the end of its standard input, and after a while by force."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(within_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, in which a child finds this package, and no other folder of the same name.

    Without ``-P`` it would take a ``proxy`` in the working directory for ours.
    """
    paths = (str(PACKAGES), os.environ.get("PYTHONPATH"))
    return {**extra, **os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
