"""What edges hold that is in no journal yet: the keeper asks all of them."""

import asyncio
from collections.abc import Iterable
from itertools import count
from typing import Final

from proxy.keeper import frames, wire
from proxy.models import Scope

# How long an edge may take to say what it holds. What one does not tell of in time is counted nowhere; of a user who is
# erased it is dropped when it is journaled at last.
INQUIRY_S: Final = 1.0

Edge = asyncio.StreamWriter  # an edge's connection stands for it


class Inquiries:
    """Questions under way. For one event loop."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._asked: dict[int, tuple[Edge, asyncio.Future[int]]] = {}

    async def ask(self, edges: Iterable[Edge], *, erased: Scope | None = None) -> int:
        """How many exchanges *edges* hold that are in no journal yet; those of one who is *erased* are gone then."""
        asked = {next(self._numbers): edge for edge in edges}
        answers = {number: asyncio.get_running_loop().create_future() for number in asked}
        self._asked |= {number: (edge, answers[number]) for number, edge in asked.items()}
        try:
            for number, edge in asked.items():
                edge.write(frames.frame(0, wire.Inquiry(number, erased)))
            if answers:
                await asyncio.wait(answers.values(), timeout=INQUIRY_S)
            return sum(answer.result() for answer in answers.values() if answer.done())
        finally:
            for number in asked:
                del self._asked[number]

    def hear(self, held: wire.Held) -> None:
        """An edge has answered."""
        if held.number in self._asked:
            _settle(self._asked[held.number][1], held.count)

    def forget(self, gone: Edge) -> None:
        """An edge is gone, and holds nothing any more."""
        for edge, answer in self._asked.values():
            if edge is gone:
                _settle(answer, 0)


def _settle(answer: asyncio.Future[int], count: int) -> None:
    if not answer.done():
        answer.set_result(count)
