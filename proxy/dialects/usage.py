"""What an answer took, in tokens, as the upstream itself reports it. Nobody is made to report."""

import json
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from proxy.models import Usage

# Behind the usage of a body there is a fingerprint, of a stream the last event; Azure has filters of about 1 kB there.
TAIL: Final = 4096

_KEY: Final = b'"usage"'
# An event stream may go on with ``"usage":null``, and gateways repeat the object under a name of their own.
_MOST_LOOKS: Final = 4
_EVENT_END: Final = b"\n\n"
_SCANNER: Final = json.JSONDecoder()
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_Count = Annotated[int, Meta(ge=0, lt=1 << 53)]


class _Details(msgspec.Struct, gc=False):
    cached_tokens: _Count | None = None


class _Told(msgspec.Struct, gc=False):
    """As it is reported. Cached tokens are where OpenAI has them, or DeepSeek, gateways to Anthropic, or Moonshot."""

    prompt_tokens: _Count
    completion_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    cached_tokens: _Count | None = None

    @property
    def cached(self) -> int | None:
        details = self.prompt_tokens_details
        if details is not None and details.cached_tokens is not None:
            return details.cached_tokens
        if self.prompt_cache_hit_tokens is not None:
            return self.prompt_cache_hit_tokens
        return self.cached_tokens if self.cache_read_input_tokens is None else self.cache_read_input_tokens


class _Rest(msgspec.Struct, gc=False):
    usage: _Told


_REST: Final = msgspec.json.Decoder(_Rest)


def read_usage(raw: Any) -> Usage | None:
    """From the ``usage`` of a completion, as it was decoded: any value. None for what does not tell of a prompt.

    One number of another type spoils nothing but itself.
    """
    if not isinstance(raw, dict):
        return None
    try:
        return _make(msgspec.convert(raw, _Told))
    except msgspec.ValidationError:
        pass
    details = raw.get("prompt_tokens_details")
    sane: dict[str, Any] = {name: count for name, value in raw.items() if (count := _count(value)) is not None}
    if isinstance(details, dict) and (cached := _count(details.get("cached_tokens"))) is not None:
        sane["prompt_tokens_details"] = {"cached_tokens": cached}
    return _make(msgspec.convert(sane, _Told)) if "prompt_tokens" in sane else None


def find_usage(tail: bytes) -> Usage | None:
    """From the end of a body or a stream, uncompressed, of which the beginning may be missing. Never raises.

    Nothing that was said can be taken for it: within a JSON string its quotes would be escaped.
    """
    end = len(tail)
    for _ in range(_MOST_LOOKS):
        end = tail.rfind(_KEY, 0, end)
        if end < 0:
            return None
        if (usage := _read_field(tail[end:])) is not None:
            return usage
    return None


def _read_field(rest: bytes) -> Usage | None:
    """From the value of the field that *rest* begins with."""
    # From a field on to the end of its object is an object without its first bracket. This reads nearly all there is,
    # at a fifth of the cost of what follows, which does not mind how the object goes on, nor what is in it.
    try:
        return _make(_REST.decode(b"{" + rest.partition(_EVENT_END)[0]).usage)
    except _UNREADABLE:
        pass
    value = rest[len(_KEY) :].lstrip()
    if not value.startswith(b":"):
        return None
    try:
        return read_usage(_SCANNER.raw_decode(value[1:].lstrip().decode("utf-8", "replace"))[0])
    except (ValueError, RecursionError):
        return None


def _make(told: _Told) -> Usage:
    cached = told.cached
    if cached is not None and cached > told.prompt_tokens:
        # A share above one would be no share: some gateways do not count as prompt what Anthropic has cached.
        cached = told.prompt_tokens
    return Usage(told.prompt_tokens, told.completion_tokens or 0, cached)


def _count(value: Any) -> int | None:
    """*value*, if it is a number of tokens; some servers write them as 12.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 1 << 53 else None
