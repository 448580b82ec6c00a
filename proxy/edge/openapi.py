"""The OpenAPI document of the control plane, made from the table that its routes are made from."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from proxy import __version__
from proxy.edge.answers import ErrorBody
from proxy.edge.operations import JSON, TENANT, Content, Operation, Parameter
from proxy.models import Memory

REF: Final = "#/components/schemas/{name}"
# Who may, a header or a parameter that cannot be read, a target that is too long, too many wrong tokens, and no keeper.
GUARDED: Final = (400, 401, 403, 414, 429, 503)
OPEN: Final = (414,)

Schema = Mapping[str, Any]


def describe(operations: Iterable[Operation], *, has_tenants: bool) -> dict[str, Any]:
    """The document of *operations*. *has_tenants*: it has to be said whose users are meant."""
    operations = tuple(operations)
    schemas, components = _describe_types(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe_operation(
            operation, schemas, has_tenants
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "memory-proxy: control plane",
            "version": __version__,
            "summary": "Looks into what chatbots remember of their users, and changes it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "admin.token"}},
        },
    }


def _describe_types(operations: Iterable[Operation]) -> tuple[dict[Any, Schema], dict[str, Any]]:
    """What refers to each type of the table, and the components that it refers to."""
    kinds = {answer.content.kind for op in operations for answer in op.answers if isinstance(answer.content.kind, type)}
    # Lines of exports are of this one, which nothing refers to.
    ordered = [*sorted(kinds | {Memory}, key=lambda kind: kind.__name__), ErrorBody]
    found, components = msgspec.json.schema_components(ordered, ref_template=REF)
    return dict(zip(ordered, found, strict=True)), {name: _simplify(schema) for name, schema in components.items()}


def _simplify(schema: Any) -> Any:
    """*schema* with tuples as arrays of a fixed length: few of those who make clients of a document know more of it."""
    if isinstance(schema, list):
        return [_simplify(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    simple = {key: _simplify(value) for key, value in schema.items()}
    if items := simple.pop("prefixItems", None):
        simple["items"] = {"anyOf": items}
    return simple


def _describe_operation(operation: Operation, schemas: Mapping[Any, Schema], has_tenants: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.says,
        "parameters": [_describe_parameter(parameter, has_tenants) for parameter in operation.parameters],
        "responses": {
            str(answer.status): {"description": answer.says, "content": _describe_content(answer.content, schemas)}
            for answer in operation.answers
        },
    }
    for status in (*(GUARDED if operation.guarded else OPEN), *operation.errors):
        described["responses"].setdefault(str(status), _describe_error(status, schemas))
    if operation.body is not None:
        content = _describe_content(operation.body, schemas)
        described["requestBody"] = {"required": operation.body.media == JSON, "content": content}
    if operation.guarded:
        described["security"] = [{"token": []}, {}]  # where none is set, whoever is on the same machine
    return described


def _describe_parameter(parameter: Parameter, has_tenants: bool) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path" or (parameter == TENANT and has_tenants),
        "description": parameter.says,
        "schema": parameter.schema,
    }


def _describe_content(content: Content, schemas: Mapping[Any, Schema]) -> dict[str, Any]:
    schema = schemas[content.kind] if isinstance(content.kind, type) else content.kind
    return {content.media: {"schema": schema}}


def _describe_error(status: int, schemas: Mapping[Any, Schema]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {JSON: {"schema": schemas[ErrorBody]}},
    }
    if status in (429, 503):
        described["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return described
