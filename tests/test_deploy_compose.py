"""``deploy/compose.yaml``, read by Docker Compose itself, which needs no engine for that."""

import json
import re
import subprocess
from typing import Final

import pytest

from proxy.config import Settings
from tests.deployments import (
    AFTER_GRACE_S,
    COMPOSE,
    DEPLOY,
    ENVIRONMENT,
    SECRETS,
    answering,
    compose,
    run_compose,
    services,
)
from tests.processes import HOST, WAIT_S

# Their images say how.
CHECKED_BY_IMAGE: Final = {"proxy"}


def seconds(duration: str) -> int:
    """Of a duration as Compose writes it: 50s, 1m30s."""
    minutes, rest = re.fullmatch(r"(?:(\d+)m)?(\d+)s", duration).groups()  # type: ignore[union-attr]  # else it fails
    return int(minutes or 0) * 60 + int(rest)


def test_compose_reads_the_file() -> None:
    """Without a warning, and with every service that is to be there."""
    assert set(services()) == {"proxy", "nginx", "chroma", "redis", "prometheus", "grafana"}


@pytest.mark.parametrize("missing", sorted(ENVIRONMENT))
def test_nothing_starts_without_its_secrets(missing: str) -> None:
    """One that is left empty is told by its name."""
    done = run_compose("config", "--quiet", **{**ENVIRONMENT, missing: ""})
    assert done.returncode != 0
    assert f"required variable {missing} is missing a value" in done.stderr


def test_the_example_has_every_variable() -> None:
    """And no other; those that have to be filled in are empty."""
    text = COMPOSE.read_text("utf-8")
    example = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "env.example").read_text("utf-8"), re.MULTILINE))
    assert set(example) == set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    assert {name for name in SECRETS if example[name]} == set()
    for name, default in re.findall(r"(?<!\$)\$\{(\w+):-([^}]+)\}", text):
        assert example[name] == default


def test_secrets_stay_off_command_lines() -> None:
    """Where every user of the machine could read them."""
    for service in services().values():
        told = json.dumps([service.get("command"), service.get("entrypoint"), service.get("healthcheck")])
        assert not any(secret in told for secret in SECRETS.values())


@pytest.mark.parametrize("name", ["proxy", "nginx", "chroma", "redis", "prometheus", "grafana"])
def test_services_are_hardened(name: str) -> None:
    """Read-only, without capabilities, bounded, watched, and started again."""
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["tmpfs"] == ["/tmp"]
    assert {"memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    assert ("healthcheck" in service) == (name not in CHECKED_BY_IMAGE)
    assert not service.get("depends_on"), "the order of start must not matter"


def test_only_this_machine_is_served() -> None:
    """Until somebody says otherwise; data stores are not published at all."""
    published = {name: [port["host_ip"] for port in service.get("ports", [])] for name, service in services().items()}
    assert published == {
        "proxy": [],
        "nginx": ["127.0.0.1", "127.0.0.1"],
        "chroma": [],
        "redis": [],
        "prometheus": ["127.0.0.1"],
        "grafana": ["127.0.0.1"],
    }
    assert compose()["networks"]["back"]["internal"] is True
    assert {name for name, service in services().items() if "back" in service["networks"]} == {
        "proxy",
        "chroma",
        "redis",
    }


def test_replicas_can_be_many() -> None:
    """Nothing in the service belongs to one container: no name, no published port, no volume that they would share."""
    proxy = services()["proxy"]
    assert proxy["deploy"]["replicas"] == 3
    assert {"container_name", "ports", "hostname"}.isdisjoint(proxy)
    writable = [volume for volume in proxy["volumes"] if not volume.get("read_only")]
    assert [(volume["type"], volume.get("source"), volume["target"]) for volume in writable] == [
        ("volume", None, "/data")
    ]


def test_streams_may_end_before_a_container_is_killed() -> None:
    """nginx gives its own as long."""
    grace = Settings().server.shutdown_grace_s
    for name in ("proxy", "nginx"):
        assert seconds(services()[name]["stop_grace_period"]) >= grace + AFTER_GRACE_S
    timeout = re.search(r"worker_shutdown_timeout (\d+)s;", (DEPLOY / "nginx" / "nginx.conf").read_text("utf-8"))
    assert timeout is not None
    assert int(timeout[1]) >= grace


def test_the_health_check_of_chroma() -> None:
    """Its image has bash and no client of HTTP: 200 is healthy, all else is not."""
    test = services()["chroma"]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "bash", "-c"]
    for status, healthy in ((200, True), (503, False)):
        with answering(status) as (port, paths):
            script = test[3].replace("$$", "$").replace("127.0.0.1/8000", f"{HOST}/{port}")
            done = subprocess.run([*test[1:3], script], capture_output=True, timeout=WAIT_S, check=False)
            assert (done.returncode == 0) == healthy, done.stderr
            assert paths == ["/api/v2/heartbeat"]
    done = subprocess.run([*test[1:3], script], capture_output=True, timeout=WAIT_S, check=False)
    assert done.returncode != 0
