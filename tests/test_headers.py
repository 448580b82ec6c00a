"""Which headers pass."""

from proxy.edge import headers
from proxy.edge.headers import RawHeaders, for_client, for_upstream


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
    kept = for_upstream(sent, own=headers.OWN_REQUEST_HEADERS, api_key=None)
    assert kept == [(b"x-b", b"1"), (b"x-a", b"1"), (b"x-b", b"2"), (b"authorization", b"Bearer c")]


def test_a_configured_key_replaces_every_authorization() -> None:
    """No key of the client's is left beside it."""
    sent: RawHeaders = [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]
    assert for_upstream(sent, own=(), api_key="k") == [(b"authorization", b"Bearer k")]
    assert for_upstream([], own=(), api_key="k") == [(b"authorization", b"Bearer k")]


def test_the_client_gets_upstreams_headers_and_then_ours() -> None:
    """Names keep their case; one of ours that upstream sent already stays upstream's."""
    raw: RawHeaders = [(b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"X-Memory-Status", b"theirs"), (b"TE", b"x")]
    added: RawHeaders = [(b"x-memory-status", b"ours"), (b"x-memory-count", b"1")]
    assert for_client(raw, added) == [*raw[:3], (b"x-memory-count", b"1")]


def test_headers_that_the_response_names_stay_behind() -> None:
    """``Connection`` in any case names headers in any case."""
    raw: RawHeaders = [(b"CONNECTION", b"x-hop"), (b"X-Hop", b"1"), (b"X-End", b"1")]
    assert for_client(raw, []) == [(b"X-End", b"1")]


def test_lookup() -> None:
    """The first value, and all of them."""
    raw: RawHeaders = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert (headers.first(raw, b"a"), headers.first(raw, b"c")) == (b"1", None)
    assert headers.every(raw, b"a") == [b"1", b"3"]
