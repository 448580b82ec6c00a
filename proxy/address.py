"""Where the upstream is: a URL, or a Unix socket with a path behind it."""

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import quote, unquote, urlsplit

UNIX: Final = "unix:"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# A socket is named by a file, which has no room for a path: without one, it is the path of every OpenAI-compatible API.
UNIX_PREFIX: Final = "/v1"
# Who connects to these reaches his own machine.
LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound to
ANY: Final = frozenset({"", *LOOPBACK})


@dataclass(frozen=True, slots=True)
class Address:
    """One origin. *socket_path*: a Unix socket, else *host* and *port*. *prefix*: the path before all others.

    *userinfo*: ``user:password`` out of the URL, percent-decoded.
    """

    scheme: str
    host: str
    port: int
    prefix: str
    socket_path: str | None = None
    userinfo: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """From ``https://host[:port][/prefix]`` or ``unix:/path/to.sock[:/prefix]``.

        Raises:
            ValueError: in words that say what would be right.
        """
        if url.startswith(UNIX):
            path, colon, prefix = url.removeprefix(UNIX).partition(":")
            if not path.startswith("/") or path.endswith("/"):
                raise ValueError("should be a socket's absolute path, such as unix:/run/llm.sock")
            if prefix[:1] not in ("", "/") or any(mark in prefix for mark in "?#:"):
                raise ValueError("should have a path behind the second colon, such as unix:/run/llm.sock:/v1")
            # unix:///run/llm.sock is what other programs write.
            path = "/" + path.lstrip("/")
            return cls("http", "localhost", 80, _quote(prefix) if colon else UNIX_PREFIX, path)
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError("should be a URL such as https://api.openai.com/v1")
        if parts.query or parts.fragment:
            raise ValueError("should have no query and no fragment")
        userinfo = None if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
        return cls(parts.scheme, _ascii(parts.hostname), port, _quote(parts.path), userinfo=userinfo)

    @property
    def authority(self) -> str:
        """The value of ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """As in a URL; for a Unix socket, one that stands for it."""
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        """As it could be configured, without user and password."""
        return f"{self.origin if self.socket_path is None else f'{UNIX}{self.socket_path}:'}{self.prefix}"

    def is_own(self, host: str, port: int) -> bool:
        """Whether a server that listens on *host* and *port* would be this address itself. May ask the resolver."""
        if self.socket_path is not None or self.port != port:
            return False
        try:
            theirs = _resolve(self.host, port)
            if host in ANY:
                return any(_is_local(address) for address in theirs)
            return not theirs.isdisjoint(_resolve(host, port))
        except OSError:
            return False  # what has no address now has to be found out when it is asked


def _quote(path: str) -> str:
    """*path* as it may stand in a request; what is percent-encoded already stays as it is."""
    return quote(path.rstrip("/"), safe="/%:@!$&'()*+,;=~")


def _ascii(host: str) -> str:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    return host


def _resolve(host: str, port: int) -> set[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return {LOOPBACK.get(name := str(address[0]), name) for *_, address in found}


def _is_local(address: str) -> bool:
    """Whether it belongs to this machine: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
