"""What browsers are told: headers on every answer of the control plane, and which pages may speak to it."""

import pytest

from tests.conftest import Launch
from tests.harness import Answer, Proxy, Upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPS = "https://ops.example.com"
TARGETS = [
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/metrics", 200),
    ("GET", "/memory/users", 200),
    ("HEAD", "/memory/users", 200),
    ("GET", "/memory/users?limit=x", 400),
    ("PUT", "/memory/users", 405),
    ("GET", "/nowhere", 404),
    ("GET", "/ui", 200),
    ("GET", "/ui/", 200),
    ("HEAD", "/ui/app.js", 200),
    ("GET", "/ui/nothing.js", 404),
    ("GET", "/ui/%2e%2e/memory/users", 404),
    ("GET", "/uix", 404),
    ("GET", f"/memory/users/{'x' * 17_000}", 414),
    ("GET", f"/memory/users?cursor={'x' * 17_000}", 414),
]
# The inspector's files, which hold nobody's data: browsers keep them, and ask whether they have changed.
KEPT = ("/ui", "/ui/", "/ui/app.js")


@pytest.mark.parametrize(("method", "target", "status"), TARGETS)
async def test_every_answer_has_them(proxy: Proxy, method: str, target: str, status: int) -> None:
    """Also errors, and each once; a policy of content where there will be pages, and nothing for other sites."""
    answer = await proxy.request(method, target)
    assert answer.status == status
    assert [
        answer.every(name)
        for name in ("x-content-type-options", "cache-control", "referrer-policy", "cross-origin-resource-policy")
    ] == [["nosniff"], ["no-cache" if target in KEPT else "no-store"], ["no-referrer"], ["same-origin"]]
    assert answer.every("x-frame-options") == ["DENY"]
    assert not any(name.startswith("access-control-") for name, _ in answer.headers)
    policy = answer.header("content-security-policy")
    if target == "/ui" or target.startswith("/ui/"):
        assert policy == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        assert "camera=()" in (answer.header("permissions-policy") or "")
        assert status == 200 or answer.code == "memory_proxy_not_found"
    else:
        assert policy is None


async def test_a_chat_has_none_of_them(proxy: Proxy, upstream: Upstream) -> None:
    """What upstream says is upstream's."""
    answer = await proxy.request("GET", "/v1/models")
    assert answer.header("x-frame-options") is None


async def test_no_address_is_answered_with_another(proxy: Proxy) -> None:
    """A slash too many is 404 and leads nowhere: least of all to what the request has for a ``Host``."""
    for target in ("/healthz/", "/memory/users/", "//evil.example/healthz"):
        async with await proxy.connect() as wire:
            await wire.send(f"GET {target} HTTP/1.1\r\nHost: evil[.example\r\n\r\n".encode())
            answer = await wire.answer()
        assert (answer.status, answer.code) == (404, "memory_proxy_not_found")
        assert answer.header("location") is None


async def preflight(proxy: Proxy, origin: str, path: str = "/memory/users/ada") -> Answer:
    asked = {"Origin": origin, "Access-Control-Request-Method": "DELETE"}
    return await proxy.request("OPTIONS", path, headers={**asked, "Access-Control-Request-Headers": "authorization"})


async def test_no_page_may_where_none_is_configured(proxy: Proxy) -> None:
    """A preflight is a method that there is not, and promises nothing."""
    answer = await preflight(proxy, OPS)
    assert answer.status == 405
    assert answer.header("access-control-allow-origin") is answer.header("vary") is None


async def test_configured_pages_may(launch: Launch) -> None:
    """Their preflights are answered without the token, which browsers do not send; then each request needs it. Both
    say to whom, so that no cache tells it somebody else.
    """
    proxy = await launch(ready=False, admin={"token": "s3cret", "cors_origins": [OPS, "http://localhost:3000"]})
    for path in ("/memory/users/ada", "/metrics", "/nowhere"):
        answer = await preflight(proxy, OPS, path)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.every("access-control-allow-origin") == [OPS]
        assert answer.header("access-control-allow-methods") == "GET, HEAD, POST, PATCH, DELETE"
        assert answer.header("access-control-allow-headers") == "authorization, content-type"
        assert answer.header("access-control-max-age") == "600"
        assert answer.header("access-control-allow-credentials") is None
        assert answer.header("vary") == "Origin"
    for token, status in (({}, 401), ({"Authorization": "Bearer s3cret"}, 200)):
        answer = await proxy.request("GET", "/memory/openapi.json", headers={"Origin": OPS, **token})
        assert (answer.status, answer.every("access-control-allow-origin")) == (status, [OPS])
        assert answer.header("access-control-expose-headers") == "Retry-After"
        assert answer.header("vary") == "Origin"
    assert (await proxy.request("GET", "/healthz")).header("vary") == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        "https://ops.example.com.evil.example",
        "http://ops.example.com",
        "https://OPS.example.com",
        "https://ops.example.com:444",
        "https://evil.example",
        "null",
        "*",
        "",
    ],
)
async def test_other_pages_may_not(launch: Launch, origin: str) -> None:
    """Not by a name that looks like it, nor with the token."""
    proxy = await launch(ready=False, admin={"token": "s3cret", "cors_origins": [OPS]})
    told = [
        await preflight(proxy, origin),
        await proxy.request("GET", "/memory/users", headers={"Origin": origin, "Authorization": "Bearer s3cret"}),
    ]
    for answer in told:
        assert (answer.status, answer.code) == (403, "memory_proxy_foreign_origin")
        assert answer.header("access-control-allow-origin") is None
        assert answer.header("vary") == "Origin"


async def test_a_configured_page_without_a_token_is_still_local(launch: Launch) -> None:
    """On this machine it may; what names the proxy otherwise, or comes through another one, may not."""
    proxy = await launch(ready=False, admin={"cors_origins": [OPS]})
    for more, status in (({}, 200), ({"X-Forwarded-For": "203.0.113.9"}, 403)):
        answer = await proxy.request("GET", "/metrics", headers={"Origin": OPS, **more})
        assert answer.status == status
