"""What replicas share through Redis: the connections, the names of keys, and what an outage looks like to callers."""

from proxy.sharing.connection import (
    CHANGES,
    name_key,
    open_async_redis,
    open_redis,
    shares_everything,
    translated,
)

__all__ = ["CHANGES", "name_key", "open_async_redis", "open_redis", "shares_everything", "translated"]
