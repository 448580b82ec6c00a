"""Child processes of ``demo`` and ``bench``, and what the operating system says about a process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from proxy.errors import MemoryProxyError

# What the caller's shell has set for a real proxy or a real provider: a rehearsal must not write into a real store.
_REAL = ("MEMORY_PROXY_", "OPENAI_")

# A grandchild that outlives the child keeps the pipe open: its end is worth a moment of waiting, no more.
LOG_END_S: Final = 2.0


class ChildError(MemoryProxyError):
    """A child process ended, or stayed silent, before it was of use. The message ends with its last log lines."""


class Child:
    """A Python module run as a process that logs JSON lines on stderr, among them ``listening`` with its URL.

    It gets a session of its own, so that Ctrl-C in the terminal reaches only this process, which stops it in order.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """*environment*: all that the child gets; by default this process's, without what configures real proxies."""
        self.started = time.perf_counter()
        self._name = " ".join((module, *arguments[:1]))
        self._log: deque[str] = deque(maxlen=20)
        self._url: Future[str] = Future()
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter, our own arguments
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=neutral_environment() if environment is None else environment,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log, name=f"log of {module}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self, *, timeout_s: float = 30) -> str:
        """Where the child listens; blocks until it says so.

        Raises:
            ChildError: it ended first, or said nothing within *timeout_s*.
        """
        try:
            return self._url.result(timeout_s)
        except TimeoutError as exc:
            raise ChildError(self.describe(f"{self._name} did not listen within {timeout_s:g} s")) from exc

    def wait(self) -> None:
        """Waits for a child that ends by itself.

        Raises:
            ChildError: its exit code was not 0.
        """
        if self._process.wait() != 0:
            self._reader.join(LOG_END_S)
            raise ChildError(self.describe(f"{self._name} ended with {self._process.returncode}"))

    def describe(self, what: str) -> str:
        """*what* happened, with the child's last log lines below it."""
        return "\n".join([what, *self._log])

    def stop(self, *, grace_s: float = 15) -> None:
        """Asks the child to end, and ends it where it does not within *grace_s*."""
        self._process.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(LOG_END_S)

    def kill(self) -> None:
        """SIGKILL to the child's process group. What it started in groups of their own may outlive it for a moment."""
        kill_group(self.pid)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read_log(self) -> None:
        if self._process.stderr is None:  # pragma: no cover  # it is a pipe: see __init__
            return
        with self._process.stderr as stderr:
            for line in stderr:
                self._log.append(line.rstrip())
                if not self._url.done() and (url := _listening_url(line)):
                    self._url.set_result(url)
        if not self._url.done():
            self._url.set_exception(ChildError(self.describe(f"{self._name} ended before it listened")))


def neutral_environment() -> dict[str, str]:
    """This process's environment without what configures a real proxy or names a real provider."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_REAL)}


class _Line(msgspec.Struct):
    event: str = ""
    url: str = ""


def _listening_url(line: str) -> str | None:
    try:
        logged = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError:
        return None  # a warning of the interpreter, for example
    return logged.url if logged.event == "listening" else None


def read_cpu_seconds(pid: int) -> float | None:
    """CPU time of all threads of a process so far, to the nanosecond; ``None`` where the system does not tell."""
    # The clock that clock_getcpuclockid(3) names: the inverted pid, shifted by three, kind 2 (scheduler time).
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def read_memory_bytes(pid: int) -> int | None:
    """Proportional set size: pages shared with other processes count by their share. ``None`` without ``/proc``."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def find_children(pid: int) -> list[int]:
    """Direct children of a process, of any of its threads; empty without ``/proc``."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []


def read_command_line(pid: int) -> bytes:
    """What a process was started with, separated by NUL; empty once it has ended, and without ``/proc``."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kill_group(pid: int) -> None:
    """SIGKILL to the process group that *pid* leads: it gets no chance to do anything about it, or is gone already."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
