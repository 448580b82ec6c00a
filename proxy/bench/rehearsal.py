"""What ``demo`` shows: a user talks in two sessions through the official client, and the second knows of the first."""

import time
from collections.abc import Mapping
from typing import Any, Final

import httpx2
import msgspec
import openai
from openai.types.chat import ChatCompletionMessageParam

from proxy.bench.servers import USER_HEADER, Conditions
from proxy.errors import MemoryProxyError
from proxy.mock.upstream import ChatBody, UpstreamThread

USER: Final = "ada"
STATEMENTS: Final = (
    "Hi! I am Ada, and my dog Biscuit is a beagle who is allergic to chicken.",
    "I live in Lisbon and I am training for the marathon in October.",
)
QUESTION: Final = "What do you know about my dog?"
EXPECTED: Final = "Biscuit"
INSTRUCTIONS: Final = "You are a friendly assistant."


class Step(msgspec.Struct, frozen=True):
    """One chat: what was said and answered, what the proxy says of its memory, and seconds in all."""

    said: str
    answered: str
    memory: Mapping[str, str]
    seconds: float


class Rehearsal(msgspec.Struct, frozen=True):
    """All that happened. *system* is the second session's system message, as the upstream received it."""

    first: list[Step]
    stored: list[dict[str, Any]]
    storing_s: float
    second: Step
    system: str
    without: Step
    user: str = USER
    instructions: str = INSTRUCTIONS

    @property
    def worked(self) -> bool:
        """Whether the second session knew through the proxy, and only through the proxy, what the first had told."""
        return EXPECTED in self.second.answered and EXPECTED not in self.without.answered


class Stage:
    """A running proxy, the mock upstream behind it, and the clients that talk to both."""

    def __init__(self, proxy_url: str, upstream: UpstreamThread, conditions: Conditions) -> None:
        # Loopback only: a proxy that the environment names would be asked for it otherwise.
        self._http = httpx2.Client(trust_env=False, timeout=60)
        self._upstream = upstream.app
        self._proxy_url = proxy_url
        self._admin = conditions.admin_headers
        self._remembering = self._client(proxy_url, {USER_HEADER: USER})
        self._forgetful = self._client(upstream.url, {})

    def hold_sessions(self) -> Rehearsal:
        """Two sessions through the proxy, and the second one's question straight to the upstream, for comparison.

        Raises:
            MemoryProxyError: a request failed.
        """
        try:
            return self._hold_sessions()
        except (openai.OpenAIError, httpx2.HTTPError) as exc:
            raise MemoryProxyError(f"the conversation broke off: {exc}") from exc

    def _hold_sessions(self) -> Rehearsal:
        first = self._hold_first()
        began = time.perf_counter()
        self._http.post(f"{self._proxy_url}/memory/flush", headers=self._admin).raise_for_status()
        storing = time.perf_counter() - began
        stored = self._memories()
        second = _ask(self._remembering, QUESTION)
        system = _system_message(self._upstream.bodies[-1])
        return Rehearsal(first, stored, storing, second, system, _ask(self._forgetful, QUESTION))

    def close(self) -> None:
        self._http.close()

    def _client(self, url: str, headers: Mapping[str, str]) -> openai.OpenAI:
        # Both given, so that neither is read from the environment: the demo never talks to a real provider.
        return openai.OpenAI(
            base_url=f"{url}/v1", api_key="not-needed", default_headers=headers, http_client=self._http, max_retries=0
        )

    def _hold_first(self) -> list[Step]:
        history: list[ChatCompletionMessageParam] = []
        steps = []
        for statement in STATEMENTS:
            step = _ask(self._remembering, statement, history)
            history += [{"role": "user", "content": statement}, {"role": "assistant", "content": step.answered}]
            steps.append(step)
        return steps

    def _memories(self) -> list[dict[str, Any]]:
        """What the control plane lists, oldest first."""
        response = self._http.get(f"{self._proxy_url}/memory/users/{USER}/memories", headers=self._admin)
        response.raise_for_status()
        newest_first: list[dict[str, Any]] = response.json()["memories"]
        return newest_first[::-1]


def _ask(client: openai.OpenAI, said: str, history: list[ChatCompletionMessageParam] | None = None) -> Step:
    """One streamed chat, as a chatbot would do it."""
    began = time.perf_counter()
    raw = client.chat.completions.with_raw_response.create(
        model="mock",
        messages=[{"role": "system", "content": INSTRUCTIONS}, *(history or []), {"role": "user", "content": said}],
        stream=True,
    )
    words = [chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices]
    memory = {name: value for name, value in raw.headers.items() if name.startswith("x-memory-")}
    return Step(said, "".join(words), memory, time.perf_counter() - began)


def _system_message(body: bytes) -> str:
    turns = msgspec.json.decode(body, type=ChatBody).messages
    return next((turn.as_message().text for turn in turns if turn.role == "system"), "")
