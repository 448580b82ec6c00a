"""nginx as a process on this machine, with the configuration of ``deploy/nginx``, in front of replicas here."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.processes import HOST, REPOSITORY, WAIT_S

CONFIGURATION: Final = REPOSITORY / "deploy" / "nginx"


class Balancer:
    """A running nginx: where chatbots reach it, where operators do, and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, data_port: int, control_port: int) -> None:
        self.process = process
        self.url = f"http://{HOST}:{data_port}"
        self.control_url = f"http://{HOST}:{control_port}"
        self._folder = folder

    @property
    def errors(self) -> str:
        """What went wrong, as far as it got."""
        return (self._folder / "errors.log").read_text("utf-8")

    @property
    def requests(self) -> str:
        """The log of requests, a line of JSON each. Complete once nginx has ended."""
        return (self._folder / "requests.log").read_text("utf-8")

    def stop(self) -> int:
        """The graceful stop; answers the exit code. Another one does nothing."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
        return self.process.wait(WAIT_S)


def find_nginx() -> str:
    """The command, which Debian keeps out of the path of ordinary users."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    assert found, "these tests need nginx: apt-get install nginx"
    return found


def write_configuration(folder: Path, replicas: Sequence[str], data_port: int, control_port: int) -> Path:
    """The configuration as it is, but for addresses: *replicas* as ``host:port``. Answers the main file's path."""
    shutil.copytree(CONFIGURATION, folder, dirs_exist_ok=True)
    servers = [f"server {replica} max_fails=1 fail_timeout=5s;\n" for replica in replicas]
    (folder / "replicas.conf").write_text("".join(servers), "utf-8")
    (folder / "listen.conf").write_text(f"listen {HOST}:{data_port};\n", "utf-8")
    (folder / "listen-control.conf").write_text(f"listen {HOST}:{control_port};\n", "utf-8")
    return folder / "nginx.conf"


def nginx_command(folder: Path, configuration: Path, *options: str) -> list[str]:
    """What starts nginx in the foreground, with its state in *folder*."""
    # Its workers keep the rights of whoever runs the tests, or they could not enter the tests' folders.
    directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
    return [find_nginx(), "-p", str(folder), "-c", str(configuration), "-e", "stderr", "-g", directives, *options]


@contextmanager
def run_balancer(folder: Path, replicas: Sequence[str]) -> Iterator[Balancer]:
    """nginx in front of *replicas*, on free ports. Whoever connects before it is up waits, and is served."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # Its listening sockets are made here, and given to it the way that an nginx hands them to its successor.
        listeners = [stack.enter_context(socket.create_server((HOST, 0), backlog=512)) for _ in range(2)]
        data_port, control_port = (listener.getsockname()[1] for listener in listeners)
        configuration = write_configuration(folder / "conf", replicas, data_port, control_port)
        process = subprocess.Popen(
            nginx_command(folder, configuration),
            env={**os.environ, "NGINX": "".join(f"{listener.fileno()};" for listener in listeners)},
            pass_fds=[listener.fileno() for listener in listeners],
            stdin=subprocess.DEVNULL,
            stdout=stack.enter_context((folder / "requests.log").open("wb")),
            stderr=stack.enter_context((folder / "errors.log").open("wb")),
        )
        balancer = Balancer(process, folder, data_port, control_port)
        try:
            yield balancer
        finally:
            process.terminate()
            process.wait(WAIT_S)
