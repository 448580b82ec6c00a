"""The command line as a shell sees it: completion, and JSON for those who read it with other programs."""

import pytest
from typer.testing import CliRunner

from proxy.cli.main import COMMANDS, make_cli
from tests.commands import invoke

READING = ("users", "memories", "search", "journal", "check", "eval")


def ask(instruction: str, **environ: str) -> str:
    """What the command tells a shell that asks in the way of completions."""
    asked = {"_MEMORY_PROXY_COMPLETE": instruction, **environ}
    return CliRunner(env=asked).invoke(make_cli(), [], prog_name="memory-proxy").stdout


def complete(*words: str) -> list[str]:
    """What bash is offered for the last of *words*."""
    typed = " ".join(("memory-proxy", *words))
    return ask("complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(words))).split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [(["me"], ["memories"]), (["journal", ""], ["retry", "drop"]), (["serve", "--wo"], ["--workers"])],
)
def test_shells_are_told_how_words_go_on(words: list[str], offered: list[str]) -> None:
    """Commands, their actions and their options."""
    assert complete(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered(shell: str) -> None:
    """As a script for the shell that asks."""
    assert "complete" in ask(f"source_{shell}")


@pytest.mark.parametrize("command", READING)
def test_what_is_read_comes_as_json_too(command: str) -> None:
    """Each command that only looks says that it can."""
    assert command in COMMANDS
    assert "--json" in invoke(command, "--help", COLUMNS="200").stdout


def test_a_mistyped_command_is_not_a_riddle() -> None:
    """Exit code 2, and what may have been meant."""
    result = invoke("serch", "ada", "dog")
    assert result.exit_code == 2
    assert "'search'" in result.output
