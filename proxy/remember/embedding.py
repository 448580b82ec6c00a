"""By vectors of which embedding model the memories of a store are found, whatever is configured.

Vectors of different models do not compare. So the ledger knows which model is in force. It stays so until all memories
have a vector of another one (:mod:`proxy.keeper.reembedding`), and what is written until then is given both.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog

from proxy.config import Settings
from proxy.embedders import describe, open_model
from proxy.embedders.base import Embedder, Vectors
from proxy.embedders.checked import check
from proxy.errors import EmbedderError
from proxy.ledger import Ledger
from proxy.models import Embedding, EmbeddingModel, Scope
from proxy.observe.metrics import Metrics
from proxy.remember.records import WORDS_ALONE, Made
from proxy.stores.base import Store

# Of a store of which nothing is noted: users who are looked at, and about how many of their records.
SURVEYED_USERS: Final = 200
SURVEYED_RECORDS: Final = 5_000
WAY_OUT: Final = "run memory-proxy reembed"
# A former model that takes longer to fail than that is left alone for a while: what is said has to be stored.
PATIENCE_S: Final = 2.0
PAUSE_S: Final = 30.0
# What is embedded to see how many numbers come back.
PROBE: Final = "What does this user like?"

log = structlog.get_logger(__name__)


class Embedded(NamedTuple):
    """What was made of some texts by the model in force, and by the one to come. *embedding*: which these are."""

    made: Made
    ahead: Made
    embedding: Embedding | None


class Embeddings:
    """The models of one store. For one event loop; the ledger works in threads.

    *configured* is the embedder that is configured, which stays the caller's to close. *on_switch* hears when another
    model is in force than before: vectors that anybody was given until then are of the last one.
    """

    def __init__(
        self, settings: Settings, configured: Embedder, store: Store, ledger: Ledger, metrics: Metrics
    ) -> None:
        self.on_switch: Callable[[], None] = lambda: None
        self.noted: Embedding | None = None  # what the ledger says, as far as it was looked at
        self._settings = settings
        self._configured = configured
        self._store = store
        self._ledger = ledger
        self._metrics = metrics
        # Else this process is the only one that could change it.
        self.is_shared = settings.journal.redis_url is not None
        self._looked = False
        self._looking = asyncio.Lock()
        self._embedders: dict[EmbeddingModel, Embedder] = {}
        self._opening = asyncio.Lock()
        self._told: dict[str, str] = {}
        self._not_before = 0.0

    @property
    def serving(self) -> EmbeddingModel | None:
        """The model in force; None where nothing is stored yet."""
        return None if self.noted is None else self.noted.serving

    @property
    def configured(self) -> str:
        """What the configured embedder is called."""
        return self._configured.name

    @property
    def differs(self) -> bool:
        """Whether another model is configured than the one in force. By its name: where it answers may change."""
        return self.serving is not None and self.serving.name != self.configured

    def tell(self) -> None:
        """A line for the log, where another model is configured."""
        if self.differs:
            log.warning("embedding_differs", serving=str(self.serving), configured=self.configured, advice=WAY_OUT)

    async def prepare(self) -> None:
        """Finds out which model is in force, and notes where it answers now, for when it is configured no more."""
        await self.settle()
        noted = self.noted
        if noted is None or self.differs:
            return
        serving = noted.serving
        address = describe(self._settings, serving.name, serving.dim).base_url
        if address != serving.base_url:
            await self.change(noted, msgspec.structs.replace(noted, serving=_move(serving, address)))

    async def settle(self) -> EmbeddingModel | None:
        """The model in force, once that is known. Raises StoreError where it cannot be found out."""
        if not self._looked:
            await self.look()
        return self.serving

    async def look(self) -> None:
        """Finds out what the ledger says now. Raises StoreError where it cannot be asked."""
        async with self._looking:
            noted = await asyncio.to_thread(self._ledger.read_embedding)
            if noted is None and not self._looked:
                noted = await asyncio.to_thread(survey, self._store, self._ledger, self._settings)
            self._take(noted)

    async def look_again(self) -> Embedding | None:
        """What the ledger says at this moment, for whoever has a turn to write. Raises as :meth:`look`."""
        if self.is_shared or not self._looked:
            await self.look()
        return self.noted

    async def change(self, old: Embedding | None, new: Embedding) -> bool:
        """Notes *new* if *old* is what the ledger says. Afterwards it is known here what it says."""
        async with self._looking:
            changed = await asyncio.to_thread(self._ledger.change_embedding, old, new)
            if changed and old is None:
                self.noted, self._looked = new, True  # of what nobody can have been given vectors
            else:
                self._take(new if changed else await asyncio.to_thread(self._ledger.read_embedding))
        return changed

    def _take(self, noted: Embedding | None) -> None:
        before, self.noted = self.serving, noted
        first, self._looked = not self._looked, True
        self._metrics.gauge("embedding_differs").set(self.differs)
        if first or self.serving is None or self.serving.compares_with(before):
            return
        log.info("embedding_in_force", model=str(self.serving))
        if before is not None or self.serving.dim:  # else all have words alone, as before
            self.on_switch()

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """What is to be stored of *texts*. The caller has the turn.

        By words alone where a model is in force that is not configured any more, and has no vectors: waiting for it
        might be waiting for ever.

        Raises:
            EmbedderError: the configured model has no vectors for now.
            StoreError: it cannot be found out, or noted, which model is in force.
        """
        noted = await self.look_again()
        if texts and noted is None:
            await self._claim(texts[0])
            noted = self.noted
        if not texts or noted is None:
            return Embedded(WORDS_ALONE, WORDS_ALONE, noted)
        made, ahead = await self._embed_for_now(noted.serving, texts), await self._embed_ahead(noted, texts)
        if ahead is WORDS_ALONE and self.serving is not None and not self.serving.compares_with(noted.serving):
            # The one to come, which has none for now, has come into force.
            return await self.embed(texts)
        return Embedded(made, ahead, noted)

    async def find_settled(self) -> Embedding | None:
        """What the ledger says, where all that is written is given vectors of one model that is configured. Raises as
        :meth:`look`.
        """
        noted = await self.look_again()
        return None if noted is None or noted.target is not None or self.differs else noted

    async def _claim(self, text: str) -> None:
        """The first text that is stored says which model is in force, unless somebody else is faster."""
        size = (await self._configured.embed([text])).shape[1]
        await self.change(None, Embedding(describe(self._settings, self.configured, size)))

    async def _embed_for_now(self, model: EmbeddingModel, texts: Sequence[str]) -> Made:
        vectors = await self._ask(model, texts)
        return WORDS_ALONE if vectors is None else Made(model.label, vectors)

    async def _ask(self, model: EmbeddingModel, texts: Sequence[str]) -> Vectors | None:
        """Vectors by the model in force; None where it is a former one that has none.

        Raises EmbedderError where the configured one has none.
        """
        if model.name == self.configured:
            return await (await self.open(model)).embed(texts)
        began = time.monotonic()
        if began < self._not_before:
            return None
        try:
            vectors = await (await self.open(model)).embed(texts)
        except EmbedderError as exc:
            self._tell("embedding_unavailable", str(exc), "what is said is found by its words alone")
            if time.monotonic() - began > PATIENCE_S:
                self._not_before = time.monotonic() + PAUSE_S
            return None
        self._told.clear()
        return vectors

    async def _embed_ahead(self, noted: Embedding, texts: Sequence[str]) -> Made:
        if noted.target is None:
            return WORDS_ALONE
        try:
            return Made(noted.target.label, await (await self.open(noted.target)).embed(texts))
        except EmbedderError as exc:
            self._tell("embedding_not_ahead", str(exc), "the move to the new model will come back to it")
            await self._note_miss(noted)
            return WORDS_ALONE

    async def _note_miss(self, noted: Embedding) -> None:
        """Before it is written, so that a move that has passed it by looks again."""
        while noted.target is not None and not await self.change(noted, _count_miss(noted)):
            if self.noted is None:
                return
            noted = self.noted

    def _tell(self, event: str, reason: str, consequence: str) -> None:
        """Once for as long as it is the same."""
        if self._told.get(event) != reason:
            log.warning(event, reason=reason, consequence=consequence)
        self._told[event] = reason

    async def embed_question(self, text: str) -> Vectors | None:
        """The vector of what somebody looks for; None where there are words alone. Raises EmbedderError, StoreError."""
        model = await self.settle()
        vectors = await (self._configured.embed([text]) if model is None else self._ask(model, [text]))
        return vectors[0] if vectors is not None and vectors.size else None

    async def open(self, model: EmbeddingModel) -> Embedder:
        """The embedder of *model*, held to the size of its vectors. Raises EmbedderError where there is none."""
        async with self._opening:
            if model not in self._embedders:
                embedder = self._configured
                if model.name != self.configured:
                    embedder = await asyncio.to_thread(open_model, self._settings, model)
                self._embedders[model] = check(embedder, model.dim)
            return self._embedders[model]

    async def probe(self) -> EmbeddingModel:
        """The configured model as it answers now. Raises EmbedderError where it does not."""
        size = (await self._configured.embed([PROBE])).shape[1]
        return describe(self._settings, self.configured, size)

    async def aclose(self) -> None:
        """Closes what was opened here."""
        for model, embedder in self._embedders.items():
            if model.name != self.configured:
                await embedder.aclose()


def _move(model: EmbeddingModel, address: str | None) -> EmbeddingModel:
    return msgspec.structs.replace(model, base_url=address)


def _count_miss(noted: Embedding) -> Embedding:
    return msgspec.structs.replace(noted, misses=noted.misses + 1)


def survey(store: Store, ledger: Ledger, settings: Settings) -> Embedding | None:
    """Notes which model is in force in a *store* of which that is not known: that of most of its vectors.

    None where it has no records. It looks at some of them only. Raises StoreError when it cannot.
    """
    users = store.first_users(SURVEYED_USERS)
    found: Counter[tuple[str, int]] = Counter()
    for user in users:
        found += _count_models(store, user.scope, SURVEYED_RECORDS // len(users))
    if not found:
        return None
    vectors = Counter({model: count for model, count in found.items() if all(model)})
    name, dim = vectors.most_common(1)[0][0] if vectors else ("none", 0)
    if len(vectors) > 1:
        share = round(vectors[name, dim] / found.total(), 2)
        log.warning("embeddings_mixed", serving=name, share=share, advice=WAY_OUT)
    noted = Embedding(describe(settings, name, dim))
    if ledger.change_embedding(None, noted):
        return noted
    return ledger.read_embedding()


def _count_models(store: Store, scope: Scope, most: int) -> Counter[tuple[str, int]]:
    """Names of models and sizes of their vectors, from records that a user has come by at all times."""
    rows = store.list_rows(scope)
    records = store.fetch(scope, rows[:: -(-len(rows) // most) or 1])
    return Counter((record.model, len(record.vector) // 2) for record in records)
