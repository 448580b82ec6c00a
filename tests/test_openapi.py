"""The control plane's document, which comes from the table that its routes come from."""

import ast
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from starlette.routing import Route

from proxy.edge.control import ControlPlane
from proxy.edge.openapi import describe
from proxy.edge.operations import OPERATIONS
from tests.conftest import Launch
from tests.harness import Proxy
from tests.processes import REPOSITORY

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Contract of the outside, and what the inspector asks for beside it.
CONTRACT = {
    ("get", "/memory/access"),
    ("get", "/memory/traces"),
    ("get", "/memory/traces/stream"),
    ("get", "/memory/history"),
    ("post", "/memory/users/{user}/search"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/memory/stats"),
    ("get", "/memory/openapi.json"),
    ("get", "/memory/users"),
    ("delete", "/memory/users/{user}"),
    ("get", "/memory/users/{user}/memories"),
    ("post", "/memory/users/{user}/memories"),
    ("patch", "/memory/users/{user}/memories/{memory}"),
    ("delete", "/memory/users/{user}/memories/{memory}"),
    ("post", "/memory/users/{user}/recall"),
    ("get", "/memory/users/{user}/export"),
    ("post", "/memory/import"),
    ("post", "/memory/flush"),
    ("get", "/memory/journal"),
    ("delete", "/memory/journal"),
    ("post", "/memory/journal/retry"),
    ("get", "/memory/reembed"),
    ("post", "/memory/reembed"),
}


def make_routes(proxy: Proxy, *others: str) -> list[Route]:
    """The routes of a control plane like the proxy's, with *others* that something else answers."""
    app = proxy.app
    plane = ControlPlane(app.keeper, app.recall, app.settings)
    return plane.routes(dict.fromkeys(others, plane.describe))


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    paths = document["paths"].items()
    return {(method, path): operation for path, methods in paths for method, operation in methods.items()}


async def test_document_and_routes_agree(proxy: Proxy) -> None:
    """Both ways, and both are what the contract says. The inspector's address is kept, and has nothing yet."""
    document = (await proxy.control("GET", "/memory/openapi.json")).json
    assert operations(document).keys() == CONTRACT
    routes = make_routes(proxy, "live", "ready", "metrics", "stats", "traces", "trace_stream", "history")
    served = {(method.lower(), route.path) for route in routes for method in route.methods or () if method != "HEAD"}
    assert served - {("get", "/ui"), ("get", "/ui/{file:path}")} == CONTRACT


async def test_it_is_an_openapi_document() -> None:
    """Version 3.1: every reference leads somewhere, every schema is one, names are used once and paths are complete."""
    document = describe(OPERATIONS, has_tenants=False)
    assert document["openapi"] == "3.1.0"
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))
    for (_, path), operation in operations(document).items():
        in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert {part[1:-1] for part in path.split("/") if part.startswith("{")} == in_path
        assert all(p["required"] for p in operation["parameters"] if p["in"] == "path")
    seen = list(walk(document))
    references = {node["$ref"] for node in seen if "$ref" in node}
    schemas = document["components"]["schemas"]
    assert {f"#/components/schemas/{name}" for name in schemas} >= references
    for schema in (*schemas.values(), *(node["schema"] for node in seen if "schema" in node)):
        jsonschema.Draft202012Validator.check_schema(schema)


def walk(node: Any) -> Any:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from walk(value)


async def test_errors_are_described(proxy: Proxy) -> None:
    """Each guarded operation says with what it may refuse, in the shape in which it does."""
    document = describe(OPERATIONS, has_tenants=False)
    described = operations(document)
    guarded = {key for key, operation in described.items() if "security" in operation}
    assert described.keys() - guarded == {("get", "/healthz"), ("get", "/readyz")}
    for key in guarded:
        assert {"400", "401", "403", "429", "503"} <= described[key]["responses"].keys()
        assert described[key]["security"] == [{"token": []}, {}]
    error = (await proxy.control("GET", "/memory/users?limit=0")).json
    schema = {"$ref": "#/components/schemas/ErrorBody", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(error)


async def test_with_clients_the_tenant_is_required(launch: Launch) -> None:
    """Where a user is named, and nowhere else."""
    proxy = await launch(ready=False, clients=[{"name": "shop", "key_sha256": "a" * 64}])
    document = (await proxy.control("GET", "/memory/openapi.json")).json
    required = {
        key: parameter["required"]
        for key, operation in operations(document).items()
        for parameter in operation["parameters"]
        if parameter["name"] == "tenant"
    }
    assert {key for key, needed in required.items() if not needed} == {("get", "/memory/users")}
    assert {key for key in required if key[1].startswith("/memory/users/{user}")} == {
        key for key in CONTRACT if key[1].startswith("/memory/users/{user}")
    }
    plain = operations(describe(OPERATIONS, has_tenants=False)).values()
    assert not any(p["required"] for operation in plain for p in operation["parameters"] if p["name"] == "tenant")


async def test_no_operation_without_a_handler(proxy: Proxy) -> None:
    """A row of the table that nobody answers, or a handler that has no row, does not start."""
    for wrong in (["live", "ready"], ["live", "ready", "metrics", "surplus"]):
        with pytest.raises(LookupError):
            make_routes(proxy, *wrong)


# Of what could open a file, start a process or reach an address there is nothing here.
HARMLESS = {
    "asyncio",
    "base64",
    "collections",
    "collections.abc",
    "datetime",
    "functools",
    "hashlib",
    "hmac",
    "http",  # for HTTPStatus
    "ipaddress",
    "json",
    "math",
    "msgspec",
    "time",
    "typing",
    "urllib.parse",
}
HANDLERS = [
    "admin",
    "answers",
    "attempts",
    "control",
    "health",
    "history",
    "openapi",
    "operations",
    "parameters",
    "shield",
    "traces",
]


@pytest.mark.parametrize("name", HANDLERS)
async def test_handlers_reach_no_file_no_process_and_no_address(name: str) -> None:
    """What answers the control plane has, beside the keeper's client and its kin, nothing to open, run or call with."""
    tree = ast.parse((REPOSITORY / "proxy" / "edge" / f"{name}.py").read_text("utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {module for module in modules if module.split(".")[0] not in ("proxy", "starlette")} <= HARMLESS
    assert not any(module.startswith(("proxy.upstream", "proxy.embedders", "starlette.static")) for module in modules)
    called = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert called.isdisjoint({"open", "exec", "eval", "compile", "__import__"})
