"""A channel on which replicas hear each other, all in the same order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from proxy.config import Settings
from proxy.errors import StoreError
from proxy.sharing.connection import CHANGES, name_key, open_async_redis, translated

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub


class Subscription:
    """What is said on a channel from now on. Every method raises StoreError once something may have been missed."""

    def __init__(self, pubsub: "PubSub") -> None:
        self._pubsub = pubsub
        self._confirmed = False

    async def receive(self, within_s: float) -> bytes | None:
        """What is said next: empty for a sign of life alone, None where there was not even that in time."""
        with translated(StoreError):
            message = await self._pubsub.get_message(timeout=within_s)
        if message is None:
            return None
        if message["type"] == "subscribe":
            if self._confirmed:
                raise StoreError("redis: the connection was lost")  # and made again by its package
            self._confirmed = True
        if message["type"] != "message":
            return b""
        data: bytes = message["data"]
        return data

    async def ping(self) -> None:
        """Asks for a sign of life."""
        with translated(StoreError):
            await self._pubsub.ping()


class Channel:
    """The replicas' channel. For one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError without Redis' package. Redis itself may be away."""
        self._redis = open_async_redis(settings)
        self._name = name_key(settings, CHANGES)

    async def publish(self, message: bytes) -> None:
        """Everybody who listens at this moment hears *message*. Raises StoreError when that is not known."""
        with translated(StoreError):
            await self._redis.publish(self._name, message)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """Listens until the end of the block. Raises StoreError when nobody can be reached."""
        pubsub = self._redis.pubsub()
        try:
            with translated(StoreError):
                await pubsub.subscribe(self._name)
            yield Subscription(pubsub)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis leaves it without

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()
