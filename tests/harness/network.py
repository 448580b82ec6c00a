"""The network between proxy and upstream, under the test's control: TLS, forward proxies, Unix sockets and names."""

import asyncio
import base64
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme

from tests.harness.payloads import completion
from tests.harness.upstream import WAIT_S, Script, Upstream, Visit, respond, within


class Endpoint(Upstream):
    """An upstream that keeps account of its connections, and of the names that TLS clients asked it for."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[asyncio.StreamWriter] = []
        self.greeting = b""  # said to every client before it has asked for anything
        self.server_names: list[str | None] = []
        self._none_open = asyncio.Event()
        self._none_open.set()

    @property
    def connections(self) -> int:
        """How many there have been since the reset."""
        return len(self.writers)

    def reset(self) -> None:
        super().reset()
        self.writers = [writer for writer in self.writers if not writer.is_closing()]

    @property
    def tls(self) -> ssl.SSLObject:
        """The TLS state of the last connection."""
        state: ssl.SSLObject = self.writers[-1].get_extra_info("ssl_object")
        return state

    def note_server_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.server_names.append(name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self._none_open.clear()
        writer.write(self.greeting)
        with suppress(ssl.SSLError):  # a client that hangs up in the middle of a record
            await super().serve(reader, writer)
        if not self._open:
            self._none_open.set()

    async def abandoned(self) -> None:
        """Returns when the proxy has closed every connection."""
        await within(self._none_open.wait())

    async def have_come(self, number: int) -> None:
        """Returns when there have been so many requests since the reset."""
        while len(self.visits) < number:
            self._arrived.clear()
            await within(self._arrived.wait())

    async def hang_up(self) -> None:
        """Ends the idle connections from this side; returns when the proxy has ended them from its own."""
        for writer in self.writers:
            if not writer.is_closing():
                writer.write_eof()
        await self.abandoned()

    async def end(self) -> None:
        for writer in self.writers:
            writer.transport.abort()  # a TLS connection would wait for its client's farewell
        await super().end()


E = TypeVar("E", bound=Endpoint)


@asynccontextmanager
async def run_endpoint(
    endpoint: E, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[E]:
    """*endpoint* on a port; with *tls* its URL names ``localhost``, so that there is a name to be verified."""
    if tls is not None:
        tls.sni_callback = endpoint.note_server_name
    server = await asyncio.start_server(endpoint.serve, host, port, ssl=tls, limit=1 << 20)
    bound = server.sockets[0].getsockname()[1]
    endpoint.url = f"https://localhost:{bound}" if tls else f"http://{host}:{bound}"
    with _closed_at_end(server):
        try:
            yield endpoint
        finally:
            await endpoint.end()


@asynccontextmanager
async def run_unix_endpoint(path: Path) -> AsyncIterator[Endpoint]:
    """An endpoint on a Unix socket, which is gone with it."""
    endpoint = Endpoint()
    server = await asyncio.start_unix_server(endpoint.serve, path, limit=1 << 20)
    endpoint.url = f"unix:{path}"
    with _closed_at_end(server, socket_path=path):
        try:
            yield endpoint
        finally:
            await endpoint.end()


@contextmanager
def _closed_at_end(server: asyncio.Server, *, socket_path: Path | None = None) -> Iterator[None]:
    try:
        yield
    finally:
        server.close()
        if socket_path is not None:
            socket_path.unlink(missing_ok=True)  # as the server itself does, from Python 3.13 on


class Authority:
    """A certificate authority of the test's own. *bundle* is its certificate, as PEM."""

    def __init__(self, folder: Path, *, name: str = "authority") -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.bundle = folder / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.bundle))

    def serve(
        self, name: str = "localhost", *, expired: bool = False, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """What a server called *name* needs. It takes HTTP/2 from every client that offers it."""
        now = datetime.now(UTC)
        until = now - timedelta(days=1) if expired else now + timedelta(days=1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = self._authority.issue_cert(name, not_before=now - timedelta(days=2), not_after=until)
        certificate.configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def require_clients(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """*context*, open only to clients with a certificate of this authority."""
        context.verify_mode = ssl.CERT_REQUIRED
        self._authority.configure_trust(context)
        return context

    def issue_client(self, name: str) -> tuple[Path, Path]:
        """A client's certificate and its key, as files."""
        issued = self._authority.issue_cert(name)
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key


@contextmanager
def run_strict_tls(context: ssl.SSLContext) -> Iterator[str]:
    """A TLS server that tells clients why it refuses them; asyncio's hangs up without the alert. Answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_refuse_clients, args=(listener, context))
        thread.start()
        try:
            yield f"https://localhost:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # ends accept()
            thread.join()


def _refuse_clients(listener: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            plain, _ = listener.accept()
            plain.settimeout(WAIT_S)
            with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as client:
                with suppress(ssl.SSLError):
                    client.do_handshake()
                with suppress(OSError):  # the client may be gone by now
                    client.shutdown(socket.SHUT_WR)
                    # A socket that is closed with something unread in it resets, and the alert might be lost.
                    while client.recv(4096):
                        pass


class ForwardProxy(Endpoint):
    """A proxy that tunnels (CONNECT), and answers by itself what is asked for in absolute-form.

    *visits* are what it was asked. *routes*: where ``host:port`` leads, for names that exist nowhere. *credentials*:
    ``name:password`` that it insists on. Scripts come first, so that a test can make it fail.
    """

    def __init__(self, *, routes: dict[str, str] | None = None, credentials: str | None = None) -> None:
        super().__init__()
        self._routes = routes or {}
        self._scripts: deque[Script] = deque()
        self._wanted = b"Basic " + base64.b64encode(credentials.encode()) if credentials else None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        self.visits.append(visit)
        if self._scripts:
            await self._scripts.popleft()(visit)
        elif self._wanted is not None and visit.every("proxy-authorization") != [self._wanted]:
            await respond(b"", status=407, headers=[("proxy-authenticate", "Basic")])(visit)
        elif visit.method == b"CONNECT":
            await self._tunnel(visit.target.decode(), reader, writer)
        else:
            await respond(completion("Noted."))(visit)

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._routes.get(target, target).rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(reader, far_writer))
            group.create_task(_carry(far_reader, writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


class Resolver:
    """Stands in for the system's resolver: knows the names under ``.test`` that it is given, and what was asked.

    *hanging* names are answered only after :meth:`release`, which the end of the test calls as well.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.hanging: set[str] = set()
        self.asked: list[str] = []
        self._released = threading.Event()
        self._held = threading.Event()
        self._system: Any = socket.getaddrinfo

    def resolve(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """In the place of :func:`socket.getaddrinfo`."""
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or not name.endswith(".test"):
            return list(self._system(host, port, *args, **kwargs))
        self.asked.append(name)
        if name in self.hanging:
            self._held.set()
            self._released.wait(WAIT_S)
        if name not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [entry for address in self.addresses[name] for entry in self._system(address, port, *args, **kwargs)]

    async def held(self) -> None:
        """Returns when somebody waits for a hanging name."""
        assert await asyncio.to_thread(self._held.wait, WAIT_S)

    def release(self) -> None:
        """Answers whoever waits."""
        self._released.set()

    @classmethod
    @contextmanager
    def installed(cls, monkeypatch: pytest.MonkeyPatch) -> Iterator["Resolver"]:
        """The process's resolver for the time of the context."""
        resolver = cls()
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", resolver.resolve)
            try:
                yield resolver
            finally:
                resolver.release()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and that nobody else is given meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def silent_port(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port whose queue of connections is full, so that the system leaves new ones without an answer."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def reset(visit: Visit) -> None:
    """A script: ends the connection with a TCP reset, as a crashed server does."""
    await visit.read()
    connection = visit._writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    visit.abort()
