"""``memory-proxy demo --once``, as a newcomer runs it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest


def run_demo(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", "demo", "--once", *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


# What a shell may have set for a real proxy and a real provider. Nothing of it counts.
REAL = {
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_API_KEY": "sk-of-the-shell",
    "MEMORY_PROXY_MEMORY__MODE": "off",
    "MEMORY_PROXY_ADMIN__TOKEN": "token-of-the-shell",
}


def test_the_demo_remembers(tmp_path: Path) -> None:
    """The second session answers from the first, whatever the environment says of real proxies and providers."""
    folder = tmp_path / "data"
    done = run_demo("--data-dir", str(folder), COLUMNS="300", **REAL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "You told me: Hi! I am Ada, and my dog Biscuit is a beagle" in done.stdout
    assert "Memory works." in done.stdout
    assert "default_headers=" in done.stdout
    assert "\x1b[" not in done.stdout
    assert "of-the-shell" not in done.stdout + done.stderr
    assert any(folder.iterdir())
    check_again(folder, tmp_path)


def check_again(folder: Path, tmp_path: Path) -> None:
    """With ``--data-dir`` a second run finds the store of the first, and works. There, an admin token, clients and
    another identity header change nothing, and the token stays unsaid.
    """
    config = tmp_path / "config.yaml"
    clients = f"clients: [{{name: shop, key_sha256: {'a' * 64}}}]"
    config.write_text(f"identity: {{header: X-Customer}}\n{clients}\nadmin: {{token: '${{ADMIN_SECRET}}'}}\n")
    done = run_demo("--data-dir", str(folder), "--config", str(config), ADMIN_SECRET="of-the-admin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of-the-admin" not in done.stdout + done.stderr


def test_without_memory_the_demo_fails(tmp_path: Path) -> None:
    """A configuration that switches memory off is told apart from one that works."""
    config = tmp_path / "config.yaml"
    config.write_text("memory: {mode: 'off'}\n")
    done = run_demo("--config", str(config))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Memory did not work." in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_go_on_until_a_signal(number: signal.Signals) -> None:
    """After the show the proxy still answers at the URL that was printed; a signal ends everything with 0."""
    command = [sys.executable, "-m", "proxy", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = "".join(iter(process.stdout.readline, "Both go on running. Ctrl-C ends them.\n"))
        found = re.search(r'base_url="(http://127\.0\.0\.1:\d+)/v1"', shown)
        assert found, shown
        assert httpx2.get(f"{found[1]}/readyz", trust_env=False).status_code == 200
        process.send_signal(number)
        assert process.stdout.read() == "Stopping.\n"
        assert process.wait() == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{found[1]}/readyz", trust_env=False)


def test_bad_configuration_is_told_before_anything_starts(tmp_path: Path) -> None:
    """Exit code 2 and one line that names the key."""
    config = tmp_path / "config.yaml"
    config.write_text("memory: {budget: 1}\n")
    done = run_demo("--config", str(config))
    assert done.returncode == 2
    assert "memory.budget" in done.stderr
    assert done.stdout == ""
