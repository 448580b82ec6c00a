"""Which headers pass."""

from proxy.edge import headers
from proxy.edge.headers import for_client, strip
from proxy.upstream import RawHeaders


def test_upstream_gets_end_to_end_headers_only() -> None:
    """Order and repetition stay; hop-by-hop headers, named ones, ours and ``Host`` go."""
    sent: RawHeaders = [
        (b"host", b"here"),
        (b"x-b", b"1"),
        (b"connection", b"close, X-Named"),
        (b"connection", b"Upgrade"),
        (b"x-named", b"1"),
        (b"upgrade", b"websocket"),
        (b"x-memory-mode", b"off"),
        (b"x-a", b"1"),
        (b"x-b", b"2"),
        (b"authorization", b"Bearer c"),
    ]
    kept = strip(sent, headers.NOT_FORWARDED | headers.OWN_REQUEST_HEADERS)
    assert kept == [(b"x-b", b"1"), (b"x-a", b"1"), (b"x-b", b"2"), (b"authorization", b"Bearer c")]


def test_the_client_gets_upstreams_headers_and_then_ours() -> None:
    """One of ours that upstream sent already stays upstream's."""
    raw: RawHeaders = [(b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"x-memory-status", b"theirs"), (b"te", b"x")]
    added: RawHeaders = [(b"x-memory-status", b"ours"), (b"x-memory-count", b"1")]
    assert for_client(raw, added) == [*raw[:3], (b"x-memory-count", b"1")]


def test_headers_that_the_response_names_stay_behind() -> None:
    """``Connection`` names headers in any case."""
    raw: RawHeaders = [(b"connection", b"X-Hop, keep-alive"), (b"x-hop", b"1"), (b"x-end", b"1")]
    assert for_client(raw, []) == [(b"x-end", b"1")]
    assert for_client([(b"connection", b"keep-alive"), *raw], []) == [(b"x-end", b"1")]


def test_lookup() -> None:
    """The first value, and all of them."""
    raw: RawHeaders = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert (headers.first(raw, b"a"), headers.first(raw, b"c")) == (b"1", None)
    assert headers.every(raw, b"a") == [b"1", b"3"]
