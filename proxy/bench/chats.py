"""The requests that are measured, and the ways that they may go."""

import base64
from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.bench.corpus import Corpus, chat_body
from proxy.bench.load import Answer, Ask, Endpoint
from proxy.bench.servers import USER_HEADER

USER: Final = "bench-user"
ANONYMOUS: Final = {"X-Mock-Chunks": "20"}
REMEMBERED: Final = {**ANONYMOUS, USER_HEADER: USER, "X-Memory-Mode": "read"}
QUESTIONS: Final = 200


class Chats:
    """Chats with a question of their own each, the same ones on every way."""

    def __init__(self) -> None:
        corpus = Corpus(seed=1)
        self._questions = [corpus.question() for _ in range(QUESTIONS)]
        self._bodies = [chat_body(question) for question in self._questions]
        self._streams = [chat_body(question, stream=True) for question in self._questions]

    def whole(self, endpoint: Endpoint, headers: Mapping[str, str] = ANONYMOUS, *, expected: int = 200) -> Ask:
        """Chats that are answered with one JSON object."""
        return lambda number: endpoint.chat(self._bodies[number % QUESTIONS], headers, expected=expected)

    def streamed(self, endpoint: Endpoint, *, chunks: int, gap_ms: int = 0, enough: int | None = None) -> Ask:
        """Chats of nobody that are answered with a stream, read to its end or until so many bytes are *enough*."""
        headers = stream_headers(chunks, gap_ms)
        return lambda number: endpoint.chat(self._streams[number % QUESTIONS], headers, enough=enough)

    def pictured(self, endpoint: Endpoint, picture_bytes: int, headers: Mapping[str, str] = ANONYMOUS) -> Ask:
        """Chats about a picture, which makes their bodies so large."""
        bodies = [picture_body(question, picture_bytes) for question in self._questions[:8]]
        return lambda number: endpoint.chat(bodies[number % len(bodies)], headers)

    async def visit(self, endpoint: Endpoint, user_id: str) -> Answer:
        """A chat of any user of the store."""
        return await endpoint.chat(self._bodies[0], {**REMEMBERED, USER_HEADER: user_id})


def stream_headers(chunks: int, gap_ms: int = 0) -> dict[str, str]:
    """What asks the mock upstream for a stream of so many chunks at that pace."""
    return {"X-Mock-Chunks": str(chunks), "X-Mock-Gap-Ms": str(gap_ms)}


def picture_body(question: str, size: int) -> bytes:
    """A chat request with a picture in it, as base64, that makes the body about *size* bytes long."""
    # Bytes of all values, so that the text has all characters of the alphabet.
    pixels = base64.b64encode(bytes(range(256)) * (size // 4 * 3 // 256)).decode()
    parts = [
        {"type": "text", "text": question},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixels}"}},
    ]
    system = {"role": "system", "content": "You are a helpful assistant."}
    return msgspec.json.encode({"model": "mock", "messages": [system, {"role": "user", "content": parts}]})
