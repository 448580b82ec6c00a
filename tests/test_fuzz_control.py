"""Schemathesis on the control plane's own document: whatever it makes of it, the real proxy answers as it says there.

In a process of its own, so that what it sets is nobody else's. ``MEMORY_PROXY_FUZZ_SECONDS=600 pytest`` on this file
goes on for so long after the part that every run has.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.processes import Proxy, clean_environment, resident

# Read while tests are collected: what the environment says of the proxy is taken away before they run.
SECONDS: Final = int(os.environ.get("MEMORY_PROXY_FUZZ_SECONDS", "0"))
EXAMPLES: Final = 10
SLOWEST_S: Final = 20
# What is stored stays in memory: ids and dates of users, and Chroma's index of some thousand memories.
EDGE_GROWTH: Final = 48 << 20
KEEPER_GROWTH: Final = 96 << 20

CONFIGURATION: Final = f"""\
clients:
  - {{name: shop, key_sha256: "{"a" * 64}"}}
  - {{name: support, key_sha256: "{"b" * 64}", tenant: help}}
"""
DETERMINISTIC: Final = ("--generation-deterministic",)
SEEDED: Final = ("--seed", "1", "--generation-database", "none")


def fuzz(directory: Path, proxy: Proxy, command: str, *options: str) -> str:
    """What Schemathesis tells. Anything that it finds fails."""
    document = proxy.call("GET", "/memory/openapi.json").raise_for_status().json()
    (directory / "openapi.json").write_text(json.dumps(_ease(document)))
    more = ("--no-color", "--warnings", "off", "--request-timeout", str(SLOWEST_S), "--continue-on-failure")
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", command, "openapi.json", "--url", proxy.url, *more, *options],
        env=clean_environment({"SCHEMATHESIS_HOOKS": "tests.fuzz_hooks"}),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS + 240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _ease(document: dict[str, Any]) -> dict[str, Any]:
    """*document* as Schemathesis can read it: where it finds no text of 100,000 characters with a word in it, it sends
    a 0 and believes that to be valid. And it would wait for the end of a stream, which has none.
    """
    del document["paths"]["/memory/traces/stream"]
    text = document["paths"]["/memory/users/{user}/memories"]["post"]["requestBody"]
    del text["content"]["application/json"]["schema"]["properties"]["text"]["maxLength"]
    return document


@pytest.mark.timeout(SECONDS + 300)
def test_the_document_is_what_is_served(tmp_path: Path) -> None:
    """Whatever is sent, valid or not: no 5xx, no answer that the document does not know, nothing valid that is refused
    and nothing invalid that is taken, no hang, no failed task, and no memory that grows.
    """
    config = tmp_path / "config.yaml"
    config.write_text(CONFIGURATION)
    with Proxy(tmp_path / "data", "http://127.0.0.1:9", "--config", str(config)) as proxy:
        keeper = proxy.wait_ready()
        # Once for what is made when it is first asked for.
        fuzz(tmp_path, proxy, "run", *SEEDED, "--phases", "fuzzing", "--max-examples", "2")
        before = resident(proxy.process.pid), resident(keeper)
        told = fuzz(tmp_path, proxy, "run", *DETERMINISTIC, "--max-examples", str(EXAMPLES))
        if SECONDS:
            told += fuzz(tmp_path, proxy, "fuzz", *SEEDED, "--max-time", str(SECONDS))
        growth = resident(proxy.process.pid) - before[0], resident(keeper) - before[1]
        (tmp_path / "told.txt").write_text(f"{told}\nEdge and keeper have grown by {growth} bytes.\n")
        assert sum(int(count) for count in re.findall(r"(\d+) generated", told)) > 300
        assert growth[0] < EDGE_GROWTH
        assert growth[1] < KEEPER_GROWTH
        assert proxy.stop() == 0
    assert '"level": "error"' not in proxy.log.text
    assert "task_failed" not in proxy.log.text
    assert proxy.log.text.count("keeper_up") == 1
