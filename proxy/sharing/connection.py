"""Connections to the Redis that replicas share. The one module that knows how they are opened.

The package is imported when a Redis is configured, and not before: who runs a single replica need not have it. Redis
itself may be away at any time, when a client is opened as well: each command then fails soon, and the next one connects
again. Nothing is repeated behind a caller's back, because what was sent may have been done although its answer is lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from proxy.config import Settings
from proxy.errors import ConfigError, MemoryProxyError

if TYPE_CHECKING:
    import redis
    from redis.asyncio import Redis as AsyncRedis

# The channel on which replicas tell each other what has changed.
CHANGES: Final = "changes"
CONNECT_S: Final = 2.0
ANSWER_S: Final = 5.0
# A connection that was idle for so long may have been dropped on the way without a word: it is asked before it is used.
HEALTH_CHECK_S: Final = 15
# How a script says that it is not the turn of who runs it.
LOST: Final = "LOST"


def open_redis(settings: Settings) -> "redis.Redis":
    """The Redis of ``journal.url``, for any number of threads. Connects when it is first asked.

    Raises:
        ConfigError: its package is not installed, or there is something in the URL that it does not know.
    """
    _require_package()
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    with _checked_url():
        client = redis.Redis.from_url(_url(settings), retry=Retry(NoBackoff(), 0), **_options())
        _make_connection(client)
    return client


def open_async_redis(settings: Settings) -> "AsyncRedis":
    """Like :func:`open_redis`, for one event loop. A command that is cancelled closes its connection."""
    _require_package()
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    with _checked_url():
        client = Redis.from_url(_url(settings), retry=Retry(NoBackoff(), 0), **_options())
        _make_connection(client)
    return client


def shares_everything(settings: Settings) -> bool:
    """Whether store and journal are replicas' common ones, so that a data directory holds nothing for good."""
    return settings.journal.redis_url is not None and settings.store.mode != "embedded"


def name_key(settings: Settings, *names: str | int) -> str:
    """What is called *names*, among everything else that may be in the same Redis."""
    return ":".join([settings.journal.prefix, *map(str, names)])


@contextmanager
def translated(error: type[MemoryProxyError]) -> Iterator[None]:
    """What Redis raises in the block, as an *error*.

    Of the reason there is the type alone, and no cause: the message may quote what was sent, which holds what people
    have said, and where it was sent, which may have a password in it. Scripts of ours say :data:`LOST` where they are
    run in somebody else's turn.
    """
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as exc:
        lost = str(exc).startswith(LOST)
        raise error("the turn has gone to another keeper" if lost else f"redis: {type(exc).__name__}") from None


def _make_connection(client: Any) -> None:
    """Finds out what it would not take, and opens nothing."""
    client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)


def _url(settings: Settings) -> str:
    if settings.journal.redis_url is None:
        raise ConfigError("journal.url: sqlite is not shared; should be redis://HOST:PORT/DB")
    return settings.journal.redis_url


def _options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": ANSWER_S,
        "health_check_interval": HEALTH_CHECK_S,
        # Answers have the same shape with every version of Redis and of its package.
        "protocol": 2,
        "client_name": "memory-proxy",
    }


def _require_package() -> None:
    try:
        import redis  # noqa: F401
    except ImportError:
        raise ConfigError("journal.url: redis needs a package: pip install 'memory-proxy[redis]'") from None


@contextmanager
def _checked_url() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError):  # which quote it
        raise ConfigError("journal.url: should be redis://HOST:PORT/DB, rediss://… or unix:///PATH") from None
