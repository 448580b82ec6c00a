"""``deploy/`` as a whole: what all of its variants have in common, and with the configuration's defaults."""

import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final

import yaml

from proxy import __version__, config
from proxy.config import Settings
from proxy.ledger import FileLedger
from proxy.stores.base import open_store
from tests.balancer import nginx_command, write_configuration
from tests.chroma_server import running_chroma
from tests.churning import ENOUGH, USER, make_record
from tests.deployments import (
    COMPOSE,
    DEPLOY,
    ENVIRONMENT,
    containers,
    load_shared_configuration,
    load_text,
    manifests,
    pick,
    pods,
    services,
)
from tests.processes import REPOSITORY, WAIT_S

SECRET_NAME: Final = re.compile("KEY|TOKEN|PASSWORD|SECRET")


def test_no_secret_is_in_a_file() -> None:
    """What is one by its name comes from the environment, or from a Secret that somebody else has made."""
    for service in yaml.safe_load(COMPOSE.read_text("utf-8"))["services"].values():
        for name, value in service.get("environment", {}).items():
            assert value.startswith("${") or not SECRET_NAME.search(name), name
    for _, pod in pods():
        for entry in [entry for container in containers(pod) for entry in container.get("env", [])]:
            assert "valueFrom" in entry or not SECRET_NAME.search(entry["name"]), entry["name"]
    assert "Secret" not in {tree["kind"] for _, tree in manifests()}


def test_redis_keeps_what_it_confirms() -> None:
    """It holds the journal and the keys of memories."""
    options = ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction")
    commands = [" ".join(services()["redis"]["command"]), pick("StatefulSet", "memory-proxy-redis")["command"][2]]
    for command in commands:
        assert all(option in command for option in options)


def test_a_damaged_index_is_gone_when_chroma_starts(tmp_path: Path) -> None:
    """As a kill leaves it that comes while the index is saved."""
    (script,) = {services()["chroma"]["entrypoint"][2], *pick("StatefulSet", "memory-proxy-chroma")["args"]}
    clear, _, start = script.partition(" && exec ")
    assert start == "dumb-init -- chroma run /config.yaml"
    with running_chroma() as chroma, closing(FileLedger(tmp_path)) as ledger:
        settings = config.load(flags={"data_dir": tmp_path, "store": chroma.store})
        with closing(open_store(settings, ledger)) as store:
            store.put({USER: [make_record(f"m{number}") for number in range(ENOUGH)]})
            chroma.kill()
            data = chroma.directory / "data"
            indexes = list(data.glob("*/index_metadata.pickle"))
            assert indexes
            for index in indexes:
                index.write_bytes(b"")
            subprocess.run(["bash", "-c", clear.replace("/data", str(data))], check=True)
            assert [path.name for path in data.iterdir() if path.is_dir()] == []
            chroma.start()
            assert len(store.fetch(USER, store.list_rows(USER))) == ENOUGH


def test_images_are_pinned() -> None:
    """The proxy's to this version, Chroma's to the client's in the lock, and none to whatever is newest."""
    images = {service["image"] for service in services().values()}
    images |= {container["image"] for _, pod in pods() for container in containers(pod)}
    locked = re.search(r"^chromadb==([\d.]+)", (REPOSITORY / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    assert locked is not None
    tags = dict(image.rsplit(":", 1) for image in images)
    assert len(tags) == len(images), "two versions of one image"
    assert tags["memory-proxy"] == __version__
    assert tags["chromadb/chroma"] == locked[1]
    assert [tag for tag in tags.values() if not re.match(r"v?\d+\.\d+\.\d+(-alpine)?$", tag)] == []


def test_replicas_are_stateless() -> None:
    """In both variants they share a journal and a store, and the control plane wants a token."""
    environ = services()["proxy"]["environment"]
    composed = load_text((DEPLOY / "config.yaml").read_text("utf-8"), environ)
    for settings in (composed, load_shared_configuration()):
        assert settings.store.mode == "http"
        assert settings.journal.redis_url is not None
        assert settings.journal.redis_url.startswith("redis://:planted")
        assert settings.admin.token is not None
        assert settings.server.host == "0.0.0.0"
    assert composed.upstream.base_url == ENVIRONMENT["UPSTREAM_BASE_URL"]
    assert {composed.store.host, "redis"} <= set(services())


def test_nginx_reads_its_configuration(tmp_path: Path) -> None:
    """Without a warning; with the ports of the container."""
    configuration = write_configuration(tmp_path / "conf", ["127.0.0.1:9"], 1, 2)
    for name in ("listen.conf", "listen-control.conf"):
        shutil.copy(DEPLOY / "nginx" / name, tmp_path / "conf")
    command = nginx_command(tmp_path, configuration, "-t")
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_timeouts_go_from_the_inside_out() -> None:
    """Who is nearer to the upstream gives up first, and who is nearer to the client keeps connections for longer."""
    settings = Settings()
    text = (DEPLOY / "nginx" / "nginx.conf").read_text("utf-8")
    limits = {name: int(value) for name, value in re.findall(r"^ +(\w+) (\d+)s;", text, re.MULTILINE)}
    upstream = text[text.index("upstream replicas {") : text.index("}", text.index("upstream replicas {"))]
    kept = re.search(r"keepalive_timeout (\d+)s;", upstream)
    assert kept is not None
    assert int(kept[1]) < settings.server.keep_alive_s
    assert limits["proxy_read_timeout"] > settings.upstream.read_timeout_s
    assert limits["proxy_connect_timeout"] < settings.upstream.connect_timeout_s
    lines = re.search(r"large_client_header_buffers \d+ (\d+)k;", text)
    assert lines is not None
    assert int(lines[1]) > settings.server.max_header_kb
