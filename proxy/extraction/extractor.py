"""Extraction as the worker sees it: a batch in, facts out."""

import asyncio
import importlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from proxy.config import Settings
from proxy.errors import ExtractionError
from proxy.extraction.answers import Asked
from proxy.extraction.base import MOST_FACTS, Batch, Extraction, Fact, Item
from proxy.extraction.budget import Budget
from proxy.extraction.grounding import ground
from proxy.extraction.lexicons import load_lexicons
from proxy.extraction.portions import split_batch
from proxy.extraction.prompt import Prompt
from proxy.extraction.quotes import Evidence
from proxy.models import Scope

# Loaded with the first extractor: the openai client takes a second and 40 MB.
ENDPOINT: Final = "proxy.extraction.endpoint:Endpoint"


class Model(Protocol):
    """What finds facts, and is not believed."""

    async def ask(self, prompt: Prompt) -> Asked:
        """What the model answers. Raises ExtractionError."""

    async def aclose(self) -> None:
        """Lets go of connections."""


class Extractor:
    """Asks the configured model for facts, and keeps those that the user's own words support.

    Any number of batches may be under way, of one user one at a time. Constructing takes about a second: it imports
    the client and reads the lexicons.
    """

    def __init__(
        self, settings: Settings, *, clock: Callable[[], float] = time.monotonic, model: Model | None = None
    ) -> None:
        chosen = settings.extraction
        load_lexicons()
        self._model = model or open_model(settings)
        self._budget = Budget(chosen.calls_per_hour, chosen.tokens_per_hour, clock=clock)

    async def extract(self, scope: Scope, batch: Batch) -> Extraction:
        """The facts of *batch*, which may take several calls, and what became of those that are none.

        Raises:
            ExtractionError: not now; the same call may succeed later. Nothing of the batch was used.
        """
        prompts = split_batch(batch)
        if prompts:
            self._budget.check(scope)
        evidence = Evidence(batch)
        found: dict[str, Fact] = {}
        dropped: Counter[str] = Counter()
        calls = tokens = 0
        for prompt in prompts:
            asked = await self._ask(scope, prompt)
            calls, tokens = calls + asked.calls, tokens + asked.tokens
            # 0.2 ms a fact, 60 in the longest of conversations.
            await asyncio.to_thread(_sift, asked.items, prompt, evidence, found, dropped)
        return Extraction(list(found.values()), dict(dropped), calls, tokens)

    async def aclose(self) -> None:
        """Closes the connections to the model."""
        await self._model.aclose()

    async def _ask(self, scope: Scope, prompt: Prompt) -> Asked:
        try:
            asked = await self._model.ask(prompt)
        except ExtractionError:
            self._budget.spend(scope, calls=1, tokens=0)
            raise
        self._budget.spend(scope, calls=asked.calls, tokens=asked.tokens)
        return asked


def _sift(
    items: Sequence[Item | None], prompt: Prompt, evidence: Evidence, found: dict[str, Fact], dropped: Counter[str]
) -> None:
    """Adds to *found* what is supported, once each, and to *dropped* why the rest is not."""
    if len(items) > MOST_FACTS:
        dropped["excess"] += len(items) - MOST_FACTS
    for item in items[:MOST_FACTS]:
        if item is None:
            dropped["malformed"] += 1
            continue
        fact = ground(item, prompt, evidence)
        if isinstance(fact, str):
            dropped[fact] += 1
        else:
            found.setdefault(fact.text.casefold(), fact)


def open_model(settings: Settings) -> Model:
    """The configured one."""
    module, _, name = ENDPOINT.partition(":")
    factory: Callable[[Settings], Model] = getattr(importlib.import_module(module), name)
    return factory(settings)
