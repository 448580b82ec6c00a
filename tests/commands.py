"""The command line in this process, for the commands that start no other one."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from proxy.cli.main import make_cli
from tests.processes import FOREIGN

STARTED = datetime(2024, 5, 1, 10, tzinfo=UTC)


def invoke(*arguments: str | Path, **environ: str) -> Result:
    """One command, without what the shell of whoever runs the tests has set. A traceback is a failure."""
    cleared = {name: None for name in os.environ if name.upper().startswith((*FOREIGN, "COLUMNS"))}
    runner = CliRunner(env={**cleared, **environ})
    return runner.invoke(make_cli(), [str(argument) for argument in arguments], catch_exceptions=False)


def read_json(*arguments: str | Path, **environ: str) -> Any:
    """What a command that must succeed prints as JSON."""
    result = invoke(*arguments, "--json", **environ)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def make_line(user: str, *texts: str, conversation: str = "c1") -> bytes:
    """A conversation of *texts*, in turns of user and assistant, as a line of a file."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    started = STARTED.isoformat()
    line = {"user_id": user, "conversation_id": conversation, "started_at": started, "messages": messages}
    return json.dumps(line).encode() + b"\n"


def write_lines(path: Path, lines: Sequence[bytes]) -> Path:
    """A file of *lines*."""
    path.write_bytes(b"".join(lines))
    return path


def read_terminal(terminal: int) -> bytes:
    """All that has been written to a terminal, which gives it a few kilobytes at a time."""
    os.set_blocking(terminal, False)
    shown = b""
    with suppress(BlockingIOError):
        while piece := os.read(terminal, 65536):
            shown += piece
    return shown
