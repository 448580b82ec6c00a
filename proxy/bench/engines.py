"""The engines that several replicas share, each as the process that it is in real life: killed, and started again."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from proxy.bench.manager import find_port
from proxy.bench.servers import HOST, POLL_S
from proxy.errors import MemoryProxyError

START_S: Final = 60.0
STOP_S: Final = 10.0

# The files of nginx are its own; whoever is down is asked again with the next request, and a chat that has been sent to
# one replica is never sent to another.
_NGINX: Final = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format bench '$msec $request_time $status "$http_x_talk" "$upstream_addr" "$upstream_status"';
    access_log {folder}/access.log bench;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream replicas {{
{servers}
        keepalive 64;
    }}
    server {{
        listen {host}:{port};
        location / {{
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_connect_timeout 1s;
            proxy_read_timeout 600s;
            proxy_next_upstream error timeout;
        }}
    }}
}}
"""


# What deploy/ does before Chroma starts: an index that it was killed over bars the way to what is in the collection.
_WITHOUT_INDEXES: Final = 'rm -rf "$0"/????????-????-????-????-???????????? && exec "$@"'


class Engine:
    """One server that is not ours, on a port that stays its own."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, port: int) -> None:
        self.name: Final = name
        self.port: Final = port
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns when it accepts connections.

        Raises:
            MemoryProxyError: it does not, or ends, or somebody else has taken its port while it was away.
        """
        if _accepts(self.port):
            raise MemoryProxyError(f"{self.name} does not start: somebody else listens on its port, {self.port}")
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen,
                self._command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise MemoryProxyError(f"{self.name} does not start: see {self._folder}/{self.name}.log")
            await asyncio.sleep(POLL_S)

    async def kill(self) -> None:
        """SIGKILL to all of it; returns when it is gone."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)

    def close(self) -> None:
        """Ends it in order."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def make_redis(folder: Path) -> Engine:
    """A Redis server that has on disk what it has answered to."""
    port = find_port()
    options = ("--bind", HOST, "--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "yes")
    lasting = ("--appendfsync", "always", "--maxmemory-policy", "noeviction")
    return Engine("redis", [find_program("redis-server"), *options, *lasting], folder, port)


def make_chroma(folder: Path) -> Engine:
    """A Chroma server, which begins new indexes with each start."""
    port = find_port()
    data = str(folder / "chroma")
    command = (find_program("chroma"), "run", "--host", HOST, "--port", str(port), "--path", data)
    return Engine("chroma", ["sh", "-c", _WITHOUT_INDEXES, data, *command], folder, port)


def make_nginx(folder: Path, replicas: Sequence[int]) -> Engine:
    """nginx in front of the *replicas* on these ports of this machine."""
    port = find_port()
    servers = "\n".join(f"        server {HOST}:{replica} max_fails=0;" for replica in replicas)
    path = folder / "nginx.conf"
    path.write_text(_NGINX.format(folder=folder, servers=servers, host=HOST, port=port))
    return Engine("nginx", [find_program("nginx"), "-p", str(folder), "-c", str(path)], folder, port)


def find_program(name: str) -> str:
    """Where a program is: beside this interpreter, or on the path.

    Raises:
        MemoryProxyError: nowhere.
    """
    own = Path(sys.executable).parent
    found = shutil.which(name, path=os.pathsep.join((str(own), os.environ.get("PATH", ""), "/usr/sbin")))
    if found is None:
        raise MemoryProxyError(f"{name} is not on this machine; a fleet needs redis-server, nginx and chroma")
    return found


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
