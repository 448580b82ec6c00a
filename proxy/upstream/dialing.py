"""Opening a connection: over TCP or a Unix socket, with TLS or without, straight or through a forward proxy."""

import asyncio
import base64
import ipaddress
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import aiohappyeyeballs
import httptools

from proxy.address import DEFAULT_PORTS, Address
from proxy.config import Upstream as UpstreamSettings
from proxy.errors import ConfigError, Failure, UpstreamError

# How long the next address waits for the one before it: what RFC 8305 recommends.
HAPPY_EYEBALLS_DELAY_S: Final = 0.25
MAX_PROXY_HEAD: Final = 1 << 16

# A model that thinks for minutes sends nothing; middle boxes forget a connection on which nothing was said.
TCP_PROBES: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


class Dialer:
    """Knows the one way to one upstream."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._address = settings.address
        self._proxy = _environment_proxy(self._address)
        self._tls = _client_tls(settings) if self._address.scheme == "https" else None
        self._proxy_tls = None
        if self._proxy is not None and self._proxy.scheme == "https":
            self._proxy_tls = ssl.create_default_context()
        self._after = b" HTTP/1.1\r\nhost: " + self._address.authority.encode("ascii") + b"\r\n"

    def around_target(self, *, direct: bool) -> tuple[bytes, bytes]:
        """What stands before and after the target in a request's head. *direct* as in :meth:`dial`."""
        if self._proxy is None or self._tls is not None or direct:
            return b"", self._after
        return self._address.origin.encode("ascii"), self._after + _credentials(self._proxy)

    async def dial(self, protocol: asyncio.Protocol, *, direct: bool) -> None:
        """Connects *protocol*. *direct*: through a proxy it must be a tunnel, even without TLS.

        Raises:
            UpstreamError: of the kind that says what went wrong.
        """
        with _translated(""):
            if self._proxy is None:
                await self._connect(protocol, self._address, self._tls)
            elif self._tls is None and not direct:
                await self._connect_to_proxy(protocol, self._proxy)
            else:
                await self._tunnel(protocol, self._proxy)

    async def _connect(self, protocol: asyncio.BaseProtocol, address: Address, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        name = address.host if tls is not None else None
        if address.socket_path is not None:
            await loop.create_unix_connection(lambda: protocol, address.socket_path)
            return
        sock = await aiohappyeyeballs.start_connection(
            await _resolve(address), happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_S, interleave=1, loop=loop
        )
        with ExitStack() as undo:
            undo.callback(sock.close)
            _set_options(sock)
            await loop.create_connection(lambda: protocol, sock=sock, ssl=tls, server_hostname=name)
            undo.pop_all()

    async def _connect_to_proxy(self, protocol: asyncio.BaseProtocol, proxy: SplitResult) -> None:
        with _translated("the forward proxy: "):
            await self._connect(protocol, _as_address(proxy), self._proxy_tls)

    async def _tunnel(self, protocol: asyncio.Protocol, proxy: SplitResult) -> None:
        """``CONNECT``, and TLS to the upstream inside it."""
        loop = asyncio.get_running_loop()
        host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
        target = f"{host}:{self._address.port}".encode("ascii")
        handshake = _ProxyHandshake(
            b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, target, _credentials(proxy))
        )
        await self._connect_to_proxy(handshake, proxy)
        with ExitStack() as undo:
            undo.callback(handshake.transport.abort)
            await handshake.done
            handshake.transport.set_protocol(protocol)
            transport: asyncio.BaseTransport | None = handshake.transport
            if self._tls is not None:
                name = self._address.host
                transport = await loop.start_tls(handshake.transport, protocol, self._tls, server_hostname=name)
            if transport is None:
                raise ConnectionResetError("the connection was closed during the handshake")
            protocol.connection_made(transport)
            if self._tls is None:
                handshake.transport.resume_reading()
            undo.pop_all()


@contextmanager
def _translated(who: str) -> Iterator[None]:
    """The system's errors as ours. *who*: what stands before their reasons."""
    try:
        yield
    except socket.gaierror as exc:
        raise UpstreamError("dns", f"{who}its name cannot be resolved: {exc.strerror}") from exc
    except ssl.SSLError as exc:
        raise UpstreamError("tls", f"{who}{_describe_tls(exc)}") from exc
    except TimeoutError as exc:  # the system's own
        raise UpstreamError("connect_timeout", f"{who}the system gave up connecting") from exc
    except OSError as exc:
        kind: Failure = "reset" if isinstance(exc, ConnectionResetError) else "refused"
        raise UpstreamError(kind, f"{who}{exc.strerror or exc}") from exc


class _ProxyHandshake(asyncio.Protocol):
    """Asks a forward proxy for a tunnel; :attr:`done` when it is there."""

    transport: asyncio.Transport

    def __init__(self, request: bytes) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # it is one that reads and writes
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("the proxy's answer is no HTTP")
        if self._received > MAX_PROXY_HEAD:
            self._fail("the proxy's answer has no end")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if not 200 <= status < 300:
            self._fail(f"the proxy refused: {status}")
        elif not self.done.done():
            self.transport.pause_reading()  # whatever comes next is not for this protocol
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the proxy closed the connection")

    def _fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(UpstreamError("proxy", reason))


def _environment_proxy(address: Address) -> SplitResult | None:
    """What ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` say of *address*; asked once."""
    if address.socket_path is not None:
        return None
    if urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        return None
    proxies = urllib.request.getproxies()
    name = address.scheme if address.scheme in proxies else "all"
    url = proxies.get(name)
    if not url:
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        usable = parts.scheme in DEFAULT_PORTS and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{name.upper()}_PROXY: should be a URL such as http://proxy.example:3128; no other scheme")
    return parts


def _as_address(proxy: SplitResult) -> Address:
    port = DEFAULT_PORTS[proxy.scheme] if proxy.port is None else proxy.port
    return Address(proxy.scheme, proxy.hostname or "", port, "")


def _credentials(proxy: SplitResult) -> bytes:
    if proxy.username is None:
        return b""
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return b"proxy-authorization: Basic " + base64.b64encode(pair) + b"\r\n"


def _client_tls(settings: UpstreamSettings) -> ssl.SSLContext:
    """A context that believes the system's store and ``SSL_CERT_FILE``, or the configured bundle alone."""
    what = f"upstream.ca_file: {settings.ca_file}"
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        what = f"upstream.client_cert_file: {settings.client_cert_file}"
        if settings.client_cert_file is not None:
            # An encrypted key would make OpenSSL ask for its password on the terminal.
            context.load_cert_chain(settings.client_cert_file, settings.client_key_file, password="")
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError) else "no readable PEM file"
        raise ConfigError(f"{what}: cannot be used: {why}") from exc
    context.set_alpn_protocols(["http/1.1"])
    return context


def _describe_tls(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"TLS: the certificate is not trusted: {exc.verify_message}"
    return f"TLS: {exc.reason or exc.strerror or 'the handshake failed'}"


async def _resolve(address: Address) -> list[Any]:
    """Anew for each connection: the system's resolver has the cache, and knows how long an answer holds."""
    kind = socket.SOCK_STREAM
    try:
        ipaddress.IPv4Address(address.host)
    except ValueError:
        return await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=kind)
    return [(socket.AF_INET, kind, socket.IPPROTO_TCP, "", (address.host, address.port))]


def _set_options(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in TCP_PROBES:
        if hasattr(socket, name):  # Linux has them all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
