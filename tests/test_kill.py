"""``kill -9``: what a client has seen to its end is remembered, once."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Final

import pytest

from tests.processes import Chat, Proxy, Upstream, running_upstream

ROUNDS: Final = 20
USER: Final = "ada"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


class Crowd:
    """Clients that go on chatting until the proxy is gone. *finished*: what they have seen the whole answer to."""

    def __init__(self, url: str, user: str, *, size: int, name: str) -> None:
        self.finished: list[str] = []
        self._threads = [threading.Thread(target=self._chat, args=(url, user, f"{name}-{i}")) for i in range(size)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _chat(self, url: str, user: str, name: str) -> None:
        chat = Chat(url, user, **{"X-Conversation-Id": name})
        number = 0
        try:
            while True:
                chat.history.clear()
                text = f"word {number} of the crowd {name}"
                chat.say(text, stream=number % 2 == 0)
                self.finished.append(text)
                number += 1
        except (OSError, HTTPException, EOFError):
            return  # the proxy was killed


def kill_edge(proxy: Proxy) -> None:
    proxy.kill()


def kill_group(proxy: Proxy) -> None:
    """As a service manager does it: the edge's process group, and the keeper, which has one of its own."""
    keeper = proxy.wait_ready()
    proxy.signal_group(signal.SIGKILL)
    os.killpg(keeper, signal.SIGKILL)


def kill_keeper_first(proxy: Proxy) -> None:
    """The keeper dies a moment before the edge: what was journaled between them waits."""
    os.kill(proxy.wait_ready(), signal.SIGKILL)
    proxy.log.wait_for("keeper_ended")
    proxy.kill()


WAYS: Final[tuple[Callable[[Proxy], None], ...]] = (kill_edge, kill_group, kill_edge, kill_keeper_first)


def test_every_finished_exchange_survives_twenty_kills(tmp_path: Path, upstream: Upstream) -> None:
    """Killed right after the last byte, 20 times: every finished exchange is found, none of any kind twice."""
    chance = random.Random(9)
    finished: list[str] = []
    crowds: list[Crowd] = []
    for number in range(ROUNDS):
        with Proxy(tmp_path, upstream.url) as proxy:
            if number % 4:
                proxy.wait_ready()
            crowds.append(Crowd(proxy.url, "crowd", size=2, name=f"round {number}"))
            chat = Chat(proxy.url, USER)
            for turn in range(chance.randint(1, 7)):
                text = f"fact {turn} of round {number}"
                chat.say(text, stream=(number + turn) % 2 == 0)
                finished.append(text)
            WAYS[number % 4](proxy)
        crowds[-1].join()
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        assert proxy.flush()["failed"] == 0
        own, others = proxy.texts(USER, limit=7), proxy.texts("crowd")
    assert own == dict.fromkeys([*finished, *(f"Noted: {text}" for text in finished)], 1)
    assert set(others.values()) == {1}
    heard = {text for crowd in crowds for text in crowd.finished}
    assert heard | {f"Noted: {text}" for text in heard} <= others.keys()


def test_positions_go_on_after_a_kill(tmp_path: Path, upstream: Upstream) -> None:
    """A conversation that goes on with another process is one conversation, numbered through."""
    with Proxy(tmp_path, upstream.url) as proxy:
        first = Chat(proxy.url, USER)
        first.say("I moved to Porto.", stream=True)
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        second = Chat(proxy.url, USER)
        second.history = first.history
        second.say("And I bought a bicycle.")
        proxy.flush()
        memories = proxy.memories(USER)
    assert len({memory["conversation_id"] for memory in memories}) == 1
    assert [memory["message_index"] for memory in memories] == [3, 2, 1, 0]


def test_a_cut_answer_is_not_remembered(tmp_path: Path, upstream: Upstream) -> None:
    """What the client never saw the end of, because the proxy was killed in its middle, is not stored."""
    gate = upstream.gate("cut")
    with Proxy(tmp_path, upstream.url) as proxy:
        Chat(proxy.url, USER).say("My cat is called Ink.")
        with Chat(proxy.url, USER, **{"X-Gate": "cut"}).start("My dog is called Rex.", stream=True) as response:
            assert gate.reached.wait(10)
            proxy.kill()
            gate.opened.set()
            with pytest.raises((HTTPException, ConnectionError)):
                response.read()
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        proxy.flush()
        assert proxy.texts(USER) == {"My cat is called Ink.": 1, "Noted: My cat is called Ink.": 1}
