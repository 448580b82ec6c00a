"""``memory-proxy demo --once``, as a newcomer runs it."""

import os
import subprocess
import sys
from pathlib import Path


def run_demo(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", "demo", "--once", *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_demo_remembers() -> None:
    """The second session answers from the first; a provider that the shell has configured is never asked."""
    done = run_demo(OPENAI_BASE_URL="http://127.0.0.1:9/v1", OPENAI_API_KEY="sk-of-the-shell", COLUMNS="160")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "You told me: Hi! I am Ada, and my dog Biscuit is a beagle" in done.stdout
    assert "Memory works." in done.stdout
    assert "default_headers=" in done.stdout
    assert "\x1b[" not in done.stdout
    assert "sk-of-the-shell" not in done.stdout + done.stderr


def test_a_data_directory_keeps_the_memories(tmp_path: Path) -> None:
    """With ``--data-dir`` a second run finds the store of the first, and works."""
    folder = tmp_path / "data"
    assert [run_demo("--data-dir", str(folder)).returncode for _ in range(2)] == [0, 0]
    assert any(folder.iterdir())


def test_without_memory_the_demo_fails(tmp_path: Path) -> None:
    """A configuration that switches memory off is told apart from one that works."""
    config = tmp_path / "config.yaml"
    config.write_text("memory: {mode: 'off'}\n")
    done = run_demo("--config", str(config))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Memory did not work." in done.stdout
