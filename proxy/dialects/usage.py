"""What an answer took, in tokens, as the upstream itself reports it. Nobody is made to report."""

import json
from typing import Any, Final

import msgspec

from proxy.models import Usage

# Behind the usage of a body there is a fingerprint, of a stream the last event; Azure has filters of about 1 kB there.
TAIL: Final = 4096

_KEY: Final = b'"usage"'
# An event stream may go on with ``"usage":null``, and gateways repeat the object under a name of their own.
_MOST_LOOKS: Final = 4
_EVENT_END: Final = b"\n\n"
_CACHED: Final = ("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens")
_SCANNER: Final = json.JSONDecoder()


class _Rest(msgspec.Struct, gc=False):
    usage: Any = None


_REST: Final = msgspec.json.Decoder(_Rest)


def read_usage(raw: Any) -> Usage | None:
    """From the ``usage`` of a completion, as it was decoded: any value. None for what tells of no prompt.

    Cached tokens are where OpenAI has them, or DeepSeek, Moonshot, or gateways to Anthropic's models.
    """
    if not isinstance(raw, dict) or (prompt := _count(raw.get("prompt_tokens"))) is None:
        return None
    details = raw.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    if cached is None:
        cached = next((count for name in _CACHED if (count := _count(raw.get(name))) is not None), None)
    # A share above one would be no share: some gateways do not count as prompt what Anthropic has cached.
    return Usage(prompt, _count(raw.get("completion_tokens")) or 0, cached if cached is None else min(cached, prompt))


def find_usage(tail: bytes) -> Usage | None:
    """From the end of a body or a stream, uncompressed, of which the beginning may be missing. Never raises.

    Nothing that was said can be taken for it: within a JSON string its quotes would be escaped.
    """
    end = len(tail)
    for _ in range(_MOST_LOOKS):
        end = tail.rfind(_KEY, 0, end)
        if end < 0:
            return None
        if (usage := read_usage(_decode(tail[end:]))) is not None:
            return usage
    return None


def _decode(rest: bytes) -> Any:
    """The value of the field that *rest* begins with; None where it has none, or is cut."""
    # From a field on to the end of its object is an object without its first bracket. This reads nearly all there is,
    # at a fifth of the cost of what follows, which does not mind how the object goes on.
    try:
        return _REST.decode(b"{" + rest.partition(_EVENT_END)[0]).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    value = rest[len(_KEY) :].lstrip()
    try:
        return _SCANNER.raw_decode(value[1:].lstrip().decode("utf-8", "replace"))[0] if value[:1] == b":" else None
    except (ValueError, RecursionError):
        return None


def _count(value: Any) -> int | None:
    """*value*, if it is a number of tokens; some servers write them as 12.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 1 << 53 else None
