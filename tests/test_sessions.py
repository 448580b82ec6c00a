"""Memory across sessions, restarts, and a store that fails for a while; through the official client."""

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.processes import Chat, Proxy, Upstream, running_upstream

USER: Final = "ada"
QUESTION: Final = "What is my dog called, and what must he not eat?"
INSTRUCTIONS: Final = "You are a helpful assistant."


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def converse(url: str, *said: str, user: str = USER, stream: bool = False) -> None:
    """One session with the official client: a system message, and the history resent each time."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, default_headers={"X-User-Id": user}) as client:
        history: list[ChatCompletionMessageParam] = [{"role": "system", "content": INSTRUCTIONS}]
        for text in said:
            history.append({"role": "user", "content": text})
            if stream:
                chunks = client.chat.completions.create(model="m", messages=history, stream=True)
                answer = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            else:
                answer = client.chat.completions.create(model="m", messages=history).choices[0].message.content or ""
            history.append({"role": "assistant", "content": answer})


def test_two_sessions_with_a_restart_between_them(tmp_path: Path, upstream: Upstream) -> None:
    """What the first session told is in the system message of the second, for this user only."""
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        converse(proxy.url, "My dog is called Biscuit.", "He must not eat chicken.", stream=True)
        assert proxy.stop() == 0
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        converse(proxy.url, QUESTION)
        system = upstream.last_system
        converse(proxy.url, QUESTION, user="bob")
    assert system.startswith(INSTRUCTIONS)
    assert "Biscuit" in system
    assert "chicken" in system
    assert upstream.last_system == INSTRUCTIONS


def test_a_session_is_remembered_at_once(tmp_path: Path, upstream: Upstream) -> None:
    """Without a restart a new conversation knows of the last one, and keeps its own words out of its block."""
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        converse(proxy.url, "My dog is called Biscuit.")
        proxy.flush()
        converse(proxy.url, QUESTION, "And what is he called again, my dog?")
        assert upstream.last_system.count("My dog is called Biscuit.") == 2  # what was said, and the answer to it
        assert QUESTION not in upstream.last_system
        proxy.flush()
        assert not [text for text in proxy.texts(USER) if "Notes from earlier conversations" in text]


def test_a_store_that_cannot_be_opened_loses_nothing(tmp_path: Path, upstream: Upstream) -> None:
    """With rubbish in place of the store chats go on; once it is repaired everything said meanwhile is stored."""
    store = tmp_path / "chroma"
    store.write_text("not a folder")
    with Proxy(tmp_path, upstream.url) as proxy:
        assert "chroma" in proxy.log.wait_for("keeper_cannot_start")["reason"]
        chat = Chat(proxy.url, USER)
        chat.say("My dog is called Biscuit.", stream=True)
        assert chat.headers["x-memory-status"] == "error"
        assert proxy.call("GET", "/readyz").status_code == 503
        store.unlink()
        proxy.wait_ready()
        proxy.flush()
        assert proxy.texts(USER)["My dog is called Biscuit."] == 1
        Chat(proxy.url, USER).say(QUESTION)
    assert "Biscuit" in upstream.last_system


def test_a_damaged_store_loses_nothing_of_the_journal(tmp_path: Path, upstream: Upstream) -> None:
    """The store's file is damaged between two runs: what is journaled waits for the operator, who removes it."""
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        Chat(proxy.url, USER).say("I am from Lisbon.")
        assert proxy.stop() == 0
    database = tmp_path / "chroma" / "chroma.sqlite3"
    database.write_bytes(b"x" * 8192)
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.log.wait_for("keeper_cannot_start")
        Chat(proxy.url, USER).say("My dog is called Biscuit.")
        shutil.rmtree(tmp_path / "chroma")
        proxy.wait_ready()
        proxy.flush()
        assert proxy.texts(USER) == {"My dog is called Biscuit.": 1, "Noted: My dog is called Biscuit.": 1}


def test_a_disk_that_is_full_for_the_store_loses_nothing(tmp_path: Path, upstream: Upstream) -> None:
    """While the keeper cannot write, chats are journaled and the log says why; with room again all of it is stored."""
    with Proxy(tmp_path, upstream.url) as proxy:
        keeper = proxy.wait_ready()
        Chat(proxy.url, USER).say("I am from Lisbon.")
        proxy.flush()
        # A limit on file size for that one process is as good as a full disk to it, since Python ignores SIGXFSZ.
        resource.prlimit(keeper, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        for turn in range(5):
            Chat(proxy.url, USER).say(f"Remark {turn} on a full disk.", stream=turn % 2 == 0)
        proxy.log.wait_for("storing_failed")
        # Chroma sometimes hangs for good after an I/O error. The supervisor would notice after half a minute; the next
        # keeper has no limit.
        os.kill(keeper, signal.SIGKILL)
        proxy.wait_ready(nth=2)
        assert proxy.flush()["failed"] == 0
        texts = proxy.texts(USER)
    expected = ["I am from Lisbon.", *(f"Remark {turn} on a full disk." for turn in range(5))]
    assert texts == dict.fromkeys([*expected, *(f"Noted: {text}" for text in expected)], 1)
