"""Requests that two servers could read differently. One of them stands behind this proxy, so all are refused."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.harness import Proxy, Upstream
from tests.harness.relays import run_relay

pytestmark = pytest.mark.asyncio(loop_scope="session")

LINE = b"POST /v1/files HTTP/1.1\r\n"
HEAD = LINE + b"Host: x\r\n"
LENGTH = b"Content-Length: 2\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
# What the part behind a request that was read too short would do.
NEXT = b"GET /v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def relay(far_end: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    async with run_relay(tmp_path_factory.mktemp("relay"), f"{far_end.url}/v1") as proxy:
        yield proxy


AMBIGUOUS: dict[str, bytes] = {
    # Two ways to tell where a body ends.
    "a length, then chunks": HEAD + LENGTH + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks, then a length": HEAD + CHUNKED + LENGTH + b"\r\n0\r\n\r\n",
    "a length in the trailers": HEAD + CHUNKED + b"\r\n0\r\nContent-Length: 40\r\n\r\n",
    "the same length twice": HEAD + LENGTH * 2 + b"\r\nab",
    "two lengths": HEAD + LENGTH + b"Content-Length: 3\r\n\r\nabc",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nab",
    # Numbers that not everybody reads alike.
    "a signed length": HEAD + b"Content-Length: +2\r\n\r\nab",
    "a hexadecimal length": HEAD + b"Content-Length: 0x2\r\n\r\nab",
    "a length with a gap": HEAD + b"Content-Length: 1 2\r\n\r\nab",
    "no length in its header": HEAD + b"Content-Length:\r\n\r\n",
    "a length that overflows": HEAD + b"Content-Length: 18446744073709551618\r\n\r\nab",
    "a signed chunk size": HEAD + CHUNKED + b"\r\n+2\r\nab\r\n0\r\n\r\n",
    "a negative chunk size": HEAD + CHUNKED + b"\r\n-2\r\nab\r\n0\r\n\r\n",
    "a prefixed chunk size": HEAD + CHUNKED + b"\r\n0x2\r\nab\r\n0\r\n\r\n",
    "a chunk size with a space": HEAD + CHUNKED + b"\r\n2 \r\nab\r\n0\r\n\r\n",
    "a chunk size that overflows": HEAD + CHUNKED + b"\r\n10000000000000002\r\nab\r\n0\r\n\r\n",
    "a chunk that is longer than it says": HEAD + CHUNKED + b"\r\n2\r\nabc\r\n0\r\n\r\n",
    # Encodings.
    "compressed, then chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, then compressed": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two headers": HEAD + CHUNKED * 2 + b"\r\n0\r\n\r\n",
    "chunked or not": HEAD + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "not encoded": HEAD + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "not quite chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked in quotes": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked behind a control character": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "an empty encoding": HEAD + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /v1/files HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    # Ends of lines.
    "a line that ends with LF": LINE + b"Host: x\n" + LENGTH + b"\r\nab",
    "lines that end with LF": b"POST /v1/files HTTP/1.1\nHost: x\nContent-Length: 2\n\nab",
    "a line that ends with CR": LINE + b"Host: x\r" + LENGTH + b"\r\nab",
    "CR within a value": HEAD + b"A: b\rContent-Length: 2\r\n\r\nab",
    "a chunk size that ends with LF": HEAD + CHUNKED + b"\r\n2\nab\r\n0\r\n\r\n",
    "a chunk that ends with LF": HEAD + CHUNKED + b"\r\n2\r\nab\n0\r\n\r\n",
    "an extension that ends with LF": HEAD + CHUNKED + b"\r\n2;a\nxx\r\nab\r\n0\r\n\r\n",
    "a folded header": HEAD + b"A: b\r\n c\r\n" + LENGTH + b"\r\nab",
    "a folded length": HEAD + b"Content-Length:\r\n\t2\r\n\r\nab",
    "a folded encoding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    # Names and values.
    "a space before the colon": HEAD + b"Content-Length : 2\r\n\r\nab",
    "a tab before the colon": HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a space before the first name": LINE + b" Host: x\r\n" + LENGTH + b"\r\nab",
    "a space before a name": HEAD + b" Content-Length: 2\r\n\r\nab",
    "a header without a name": HEAD + b": b\r\n" + LENGTH + b"\r\nab",
    "NUL in a value": HEAD + b"A: b\x00c\r\n" + LENGTH + b"\r\nab",
    "NUL in a name": HEAD + b"A\x00: b\r\n" + LENGTH + b"\r\nab",
    "a control character in a value": HEAD + b"A: b\x01c\r\n" + LENGTH + b"\r\nab",
    "DEL in a value": HEAD + b"A: b\x7fc\r\n" + LENGTH + b"\r\nab",
    "brackets in a name": HEAD + b"A(b): c\r\n" + LENGTH + b"\r\nab",
    # Request lines.
    "a space within the URL": b"GET /v1/files x HTTP/1.1\r\nHost: x\r\n\r\n",
    "CR within the URL": b"GET /v1/files\rx HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL within the URL": b"GET /v1/files\x00x HTTP/1.1\r\nHost: x\r\n\r\n",
    "tabs": b"GET\t/v1/files\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "a space at the end": b"GET /v1/files HTTP/1.1 \r\nHost: x\r\n\r\n",
    "a method in small letters": b"get /v1/files HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /v1/files\r\n\r\n",
    "another version": b"GET /v1/files HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/2 in words of HTTP/1": b"GET /v1/files HTTP/2.0\r\nHost: x\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
    "no host": b"GET /v1/files HTTP/1.1\r\n\r\n",
    "two hosts": HEAD + b"Host: y\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET /v1/files HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
async def test_what_is_ambiguous_is_refused(relay: Proxy, upstream: Upstream, case: str) -> None:
    """400 in OpenAI's shape, the connection ends, and nothing behind it reaches the upstream as a request."""
    async with await relay.connect() as wire:
        await wire.send(AMBIGUOUS[case] + NEXT)
        answer = await wire.answer()
        assert (answer.status, answer.code) == (400, "memory_proxy_bad_request")
        assert answer.header("connection") == "close"
        assert await wire.closed() == b""
    assert b"/v1/smuggled" not in [visit.target for visit in upstream.visits]
    assert [visit.body for visit in upstream.visits if visit.body not in (b"", b"ab")] == []


PLAIN: dict[str, tuple[bytes, bytes]] = {
    "a length": (HEAD + LENGTH + b"\r\nab", b"ab"),
    "a length with zeros": (HEAD + b"Content-Length: 0002\r\n\r\nab", b"ab"),
    "a length with spaces around": (HEAD + b"Content-Length:  2 \r\n\r\nab", b"ab"),
    "chunks": (HEAD + CHUNKED + b"\r\n2\r\nab\r\n0\r\n\r\n", b"ab"),
    "chunks in capitals": (HEAD + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n2\r\nab\r\n0\r\n\r\n", b"ab"),
    "an extension": (HEAD + CHUNKED + b"\r\n2;a=b\r\nab\r\n0\r\n\r\n", b"ab"),
    "a trailer": (HEAD + CHUNKED + b"\r\n2\r\nab\r\n0\r\nX-User-Id: eve\r\n\r\n", b"ab"),
    "nothing that says so": (HEAD + b"\r\n", b""),
    "another name": (HEAD + b"Content_Length: 40\r\n\r\n", b""),
    "empty lines before it": (b"\r\n\r\n" + HEAD + b"\r\n", b""),
    "a whole URL": (b"POST http://evil/v1/files HTTP/1.1\r\nHost: x\r\n\r\n", b""),
}


@pytest.mark.parametrize("case", PLAIN)
async def test_what_is_plain_is_relayed(relay: Proxy, upstream: Upstream, case: str) -> None:
    """The upstream gets this request and the next one, with one way to tell where each body ends."""
    request, body = PLAIN[case]
    async with await relay.connect() as wire:
        await wire.send(request + NEXT)
        assert [(await wire.answer()).status, (await wire.answer()).status] == [200, 200]
    first, second = upstream.visits
    assert (first.target, first.body, second.target, second.body) == (b"/v1/files", body, b"/v1/smuggled", b"")
    assert len(first.every("content-length")) + len(first.every("transfer-encoding")) <= 1
    assert first.every("x-user-id") == []
