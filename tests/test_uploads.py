"""Bodies that are larger than what anybody would hold in memory: the proxy as a process, and peers that stall.

200 MB, because that is what audio and batch files have at most; most of it waits at its sender, and none of it in
the proxy. Blocking sockets in threads, so that the kernel's buffers are all that stands between the two ends.
"""

import hashlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.harness.footprint import MB, Footprint
from tests.processes import WAIT_S, Proxy

SIZE: Final = 200 * MB
PIECE: Final = bytes(range(256)) * 1024
COUNT: Final = SIZE // len(PIECE)
# What may be on its way while nobody takes it: at most 6 MB (tcp_rmem) and 4 MB (tcp_wmem) in each of two kernel
# buffers on the proxy's side, and what little the proxy itself holds.
IN_FLIGHT: Final = 24 * MB
GROWTH: Final = 24 * MB
# A sender that cannot send for this long has been stopped: nobody takes anything any more.
STALL_S: Final = 0.5
SMALL_BUFFER: Final = 1 << 16
PREAMBLE: Final = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
EPILOGUE: Final = b"\r\n--b--\r\n"


class Stalling:
    """Sends much on a socket. *stalled* is set when the other side takes no more, *ahead* says after how many bytes."""

    def __init__(self, connection: socket.socket, *, chunked: bool) -> None:
        self.stalled = threading.Event()
        self.ahead = 0
        self.digest = hashlib.sha256()
        self._connection = connection
        self._chunked = chunked
        connection.settimeout(None)  # with a timeout a send would wait by itself

    def send_all(self) -> None:
        for data in (PREAMBLE, *(PIECE for _ in range(COUNT)), EPILOGUE):
            self.digest.update(data)
            self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if self._chunked:
            self._send(b"0\r\n\r\n")
        self.stalled.set()

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            sent = self._send_some(view)
            view = view[sent:]
            self.ahead += 0 if self.stalled.is_set() else sent

    def _send_some(self, view: memoryview) -> int:
        try:
            return self._connection.send(view, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if not select.select([], [self._connection], [], STALL_S)[1]:
                self.stalled.set()
                select.select([], [self._connection], [], WAIT_S)
            return 0


LENGTH: Final = len(PREAMBLE) + SIZE + len(EPILOGUE)


def framing(*, chunked: bool) -> bytes:
    return b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % LENGTH


class Reader:
    """Reads HTTP messages from a socket, without holding their bodies."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def head(self) -> list[bytes]:
        """The lines of a head, in lower case."""
        return [line.strip().lower() for line in iter(self._file.readline, b"\r\n")]

    def body(self, head: list[bytes]) -> tuple[int, str]:
        """Size and hash of a body."""
        digest, size = hashlib.sha256(), 0
        for piece in self._chunks() if b"transfer-encoding: chunked" in head else self._fixed(head):
            digest.update(piece)
            size += len(piece)
        return size, digest.hexdigest()

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    def _fixed(self, head: list[bytes]) -> Iterator[bytes]:
        (left,) = (int(line.removeprefix(b"content-length:")) for line in head if line.startswith(b"content-length:"))
        while left:
            piece = self._file.read(min(left, 1 << 16))
            assert piece, "the body broke off"
            left -= len(piece)
            yield piece


Serve = Callable[[socket.socket], None]


class Server:
    """An upstream that serves one connection at a time, in a thread, as the test says."""

    def __init__(self) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)  # before it listens: is inherited
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.listener.settimeout(WAIT_S)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._pool = ThreadPoolExecutor(1)

    def serve(self, serve: Serve) -> None:
        """Answers the next connection."""
        self._pool.submit(self._serve, serve)

    def _serve(self, serve: Serve) -> None:
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(WAIT_S)
            serve(connection)

    def close(self) -> None:
        self._pool.shutdown()
        self.listener.close()


@contextmanager
def running_server() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with Proxy(tmp_path_factory.mktemp("data"), server.url) as proxy:
        proxy.wait_ready()
        yield proxy


@contextmanager
def connected(proxy: Proxy) -> Iterator[socket.socket]:
    """A client's connection with small buffers."""
    with socket.socket() as connection:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connection.setsockopt(socket.SOL_SOCKET, option, SMALL_BUFFER)
        connection.settimeout(WAIT_S)
        connection.connect((urlsplit(proxy.url).hostname, urlsplit(proxy.url).port))
        yield connection


def in_thread(stack: ExitStack, work: Callable[[], None]) -> None:
    """Runs *work* beside the test; the stack waits for it."""
    thread = threading.Thread(target=work)
    thread.start()
    stack.callback(thread.join)


@pytest.mark.parametrize("chunked", [False, True], ids=["known length", "chunked"])
def test_a_large_upload_streams_in_constant_memory(proxy: Proxy, server: Server, *, chunked: bool) -> None:
    """200 MB to an upstream that first reads nothing: the client is made to wait, and every byte arrives."""
    go_on = threading.Event()
    received: list[tuple[int, str]] = []

    def read_late(connection: socket.socket) -> None:
        reader = Reader(connection)
        head = reader.head()
        go_on.wait(WAIT_S)
        received.append(reader.body(head))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    footprint = Footprint(proxy.process.pid)
    footprint.forget_peak()
    before = footprint.peak
    server.serve(read_late)
    with connected(proxy) as connection, ExitStack() as stack:
        head = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        connection.sendall(head + framing(chunked=chunked))
        sender = Stalling(connection, chunked=chunked)
        in_thread(stack, sender.send_all)
        assert sender.stalled.wait(WAIT_S)
        assert sender.ahead < IN_FLIGHT
        go_on.set()
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
    assert received == [(LENGTH, sender.digest.hexdigest())]
    assert footprint.peak - before < GROWTH


@pytest.mark.parametrize("chunked", [False, True], ids=["known length", "chunked"])
@pytest.mark.parametrize("path", [b"/v1/files/f/content", b"/v1/chat/completions"])
def test_a_large_download_streams_in_constant_memory(
    proxy: Proxy, server: Server, path: bytes, *, chunked: bool
) -> None:
    """200 MB to a client that first reads nothing: upstream is made to wait, and every byte arrives."""
    senders: list[Stalling] = []
    started = threading.Event()

    def send_much(connection: socket.socket) -> None:
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n" + framing(chunked=chunked))
        senders.append(Stalling(connection, chunked=chunked))
        started.set()
        senders[0].send_all()

    footprint = Footprint(proxy.process.pid)
    footprint.forget_peak()
    before = footprint.peak
    server.serve(send_much)
    with connected(proxy) as connection:
        connection.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nX-User-Id: a\r\nContent-Length: 0\r\n\r\n" % path)
        assert started.wait(WAIT_S)
        assert senders[0].stalled.wait(WAIT_S)
        assert senders[0].ahead < IN_FLIGHT
        reader = Reader(connection)
        head = reader.head()
        assert head[0] == b"http/1.1 200 ok"
        assert reader.body(head) == (LENGTH, senders[0].digest.hexdigest())
    assert footprint.peak - before < GROWTH
