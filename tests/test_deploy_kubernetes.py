"""``deploy/kubernetes``, against the schemas of Kubernetes, and against what the proxy needs."""

import json
import subprocess
import sys
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.deployments import (
    AFTER_GRACE_S,
    Tree,
    answering,
    containers,
    find,
    load_environment,
    load_shared_configuration,
    manifests,
    named,
    pick,
    replica,
    sidecar,
    workloads,
)
from tests.processes import REPOSITORY, WAIT_S

KUBERNETES: Final = "1.34"
USER: Final = 10001


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
