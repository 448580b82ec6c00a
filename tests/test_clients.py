"""The proxy's own keys: who may ask, what goes upstream in their place, and users of different tenants."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from proxy.config import Settings
from proxy.edge.callers import Callers
from proxy.errors import UnauthorizedError
from tests.conftest import Launch
from tests.harness import Proxy, Upstream, run_proxy
from tests.harness.client import Pairs
from tests.harness.payloads import ask
from tests.harness.proxy import CHAT
from tests.harness.sockets import SocketServer, dial, run_socket_server
from tests.harness.upstream import Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOP, HELP, LAB = "mp-shop-key", "mp-help-key", "mp-lab-key"
SHOPS_OWN, UPSTREAM_KEY = "sk-shop-upstream", "sk-default-upstream"
KEYS: Final = (SHOP, HELP, LAB)
AZURE_CHAT: Final = "/v1/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


CLIENTS: list[dict[str, Any]] = [
    {"name": "shop", "key_sha256": sha256(SHOP), "upstream_api_key": SHOPS_OWN},
    {"name": "help", "key_sha256": sha256(HELP)},
    {"name": "lab", "key_sha256": sha256(LAB), "tenant": "shop"},
]


def bearer(key: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {key}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(far_end: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """The one proxy of this module. Tests ask for ``guarded``."""
    options: dict[str, Any] = {"upstream": {"api_key": UPSTREAM_KEY}, "clients": CLIENTS}
    async with run_proxy(tmp_path_factory.mktemp("clients"), far_end.url, **options) as proxy:
        yield proxy


@pytest.fixture
def guarded(shared: Proxy, upstream: Upstream) -> Proxy:
    """A proxy with three keys of two tenants, in front of ``upstream``."""
    return shared


async def chat(proxy: Proxy, key: str, user: str, text: str) -> str | None:
    """The memory status of a chat."""
    headers: Pairs = [bearer(key), ("X-User-Id", user)]
    answer = await proxy.request("POST", CHAT, headers=headers, body=ask(text))
    assert answer.status == 200, answer.body
    return answer.memory


def credentials(visit: Visit) -> list[tuple[str, str]]:
    """What opens the upstream."""
    names = (b"authorization", b"api-key")
    return [(name.decode(), value.decode()) for name, value in visit.headers if name in names]


async def test_users_of_two_tenants_never_meet(guarded: Proxy, upstream: Upstream, user: str) -> None:
    """Even with equal ids; two keys of one tenant share its users."""
    await chat(guarded, SHOP, user, "My favourite colour is vermilion.")
    await chat(guarded, HELP, user, "My favourite colour is turquoise.")
    await guarded.flush()
    for key, own, others in ((SHOP, "vermilion", "turquoise"), (HELP, "turquoise", "vermilion")):
        assert await chat(guarded, key, user, f"What is my favourite colour? ({key})") == "injected"
        assert own in upstream.last.system
        assert others not in upstream.last.system
    assert await chat(guarded, LAB, user, "What is my favourite colour, again?") == "injected"
    assert "vermilion" in upstream.last.system
    assert "turquoise" not in upstream.last.system


async def test_commands_are_of_the_tenant(launch: Launch, upstream: Upstream, user: str) -> None:
    """Forgetting everything of one tenant's user leaves another tenant's."""
    proxy = await launch(clients=CLIENTS, memory={"commands": True})
    for key in (SHOP, HELP):
        await chat(proxy, key, user, "My favourite colour is vermilion.")
    await proxy.flush()
    await chat(proxy, SHOP, user, "/memory forget everything yes")
    assert await chat(proxy, SHOP, user, "What is my favourite colour?") == "empty"
    assert await chat(proxy, HELP, user, "What is my favourite colour?") == "injected"


@pytest.mark.parametrize("target", [CHAT, "/v1/embeddings", "/v1/anything/at/all?x=1"])
@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ([], 401, "no_key"),
        ([("Authorization", "")], 401, "no_key"),
        ([("Authorization", "Bearer")], 401, "no_key"),
        ([("Authorization", "Bearer ")], 401, "no_key"),
        ([("Authorization", f"Basic {SHOP}")], 401, "no_key"),
        ([("Authorization", SHOP)], 401, "no_key"),
        ([("api-key", "")], 401, "no_key"),
        ([bearer("sk-guessed")], 401, "unknown_key"),
        ([bearer(SHOP.upper())], 401, "unknown_key"),
        ([bearer(sha256(SHOP))], 401, "unknown_key"),
        ([bearer(f"{SHOP},{HELP}")], 401, "unknown_key"),
        ([bearer(UPSTREAM_KEY)], 401, "unknown_key"),
        ([("api-key", "sk-guessed")], 401, "unknown_key"),
        ([("api_key", SHOP)], 401, "no_key"),
        ([("Proxy-Authorization", f"Bearer {SHOP}")], 401, "no_key"),
        ([bearer(SHOP), bearer(SHOP)], 400, "two_keys"),
        ([bearer(SHOP), bearer("sk-guessed")], 400, "two_keys"),
        ([("api-key", SHOP), ("api-key", SHOP)], 400, "two_keys"),
        ([bearer(SHOP), ("api-key", HELP)], 400, "two_keys"),
        ([("Authorization", "Basic x"), ("api-key", SHOP)], 400, "two_keys"),
    ],
)
async def test_without_a_key_nothing_goes_upstream(
    guarded: Proxy, upstream: Upstream, target: str, headers: Pairs, status: int, reason: str
) -> None:
    """401 in OpenAI's shape, without the key; 400 where it is not clear which one counts."""
    before = guarded.metric("unauthorized_total", reason=reason)
    answer = await guarded.request("POST", target, headers=[*headers, ("X-User-Id", "ada")], body=ask("Hi."))
    assert (answer.status, answer.code) == (status, "memory_proxy_bad_client_key")
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert not [key for key in (*KEYS, "guessed") if key.encode() in answer.body]
    assert upstream.visits == []
    assert guarded.metric("unauthorized_total", reason=reason) == before + 1


async def test_a_stranger_is_refused_before_the_body(guarded: Proxy, upstream: Upstream) -> None:
    """Nobody waits for what will not be used."""
    async with await guarded.connect() as wire:
        await wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert (await wire.answer()).status == 401


@pytest.mark.parametrize("target", [CHAT, AZURE_CHAT, "/v1/embeddings"])
@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ([bearer(SHOP)], ("authorization", f"Bearer {SHOPS_OWN}")),
        ([("Authorization", f"bearer   {SHOP}")], ("authorization", f"Bearer {SHOPS_OWN}")),
        ([("api-key", SHOP)], ("api-key", SHOPS_OWN)),
        ([bearer(SHOP), ("api-key", SHOP)], ("authorization", f"Bearer {SHOPS_OWN}")),
        ([bearer(HELP)], ("authorization", f"Bearer {UPSTREAM_KEY}")),
        ([("api-key", HELP)], ("api-key", UPSTREAM_KEY)),
    ],
)
async def test_what_goes_upstream_in_its_place(
    guarded: Proxy, upstream: Upstream, target: str, sent: Pairs, received: tuple[str, str]
) -> None:
    """The client's upstream key, or the proxy's, in the way that the client has chosen; its own key nowhere."""
    answer = await guarded.request("POST", target, headers=sent, body=ask("Hi."))
    assert answer.status == 200
    visit = upstream.last
    assert credentials(visit) == [received]
    assert not [key for key in KEYS if key.encode() in repr(visit.headers).encode() + visit.body]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/../admin", 400),
        ("/v1/..", 400),
        ("/v1/a/../../admin", 400),
        ("/v1/%2e%2E/admin", 400),
        ("/v1/.%2e%2fadmin", 400),
        ("/v1/..%2Fadmin", 400),
        ("/v1/..%5cadmin", 400),
        ("/v1/..;/admin", 400),
        ("/v1/files/a..b", 200),
        ("/v1/files/..a", 200),
        ("/v1/models/gpt-4.1", 200),
        ("/v1/./models", 200),
    ],
)
async def test_our_upstream_key_opens_nothing_but_the_api(
    guarded: Proxy, upstream: Upstream, path: str, status: int
) -> None:
    """An application that was given the API cannot reach what lies beside it with the key that is not its own."""
    answer = await guarded.request("GET", path, headers=[bearer(SHOP)])
    assert (answer.status, len(upstream.visits)) == (status, int(status == 200))


async def test_without_any_upstream_key_none_is_sent(launch: Launch, upstream: Upstream) -> None:
    """An upstream without keys of its own gets none of ours."""
    proxy = await launch(ready=False, clients=CLIENTS)
    assert (await proxy.request("GET", "/v1/models", headers=[bearer(HELP)])).status == 200
    assert credentials(upstream.last) == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sockets() -> AsyncIterator[SocketServer]:
    async with run_socket_server() as server:
        yield server


async def test_websockets(sockets: SocketServer, launch: Launch) -> None:
    """They need a key, too, and theirs is replaced as well."""
    sockets.reset()
    proxy = await launch(ready=False, upstream={"base_url": f"{sockets.url}/v1"}, clients=CLIENTS)
    for headers in ({}, {"Authorization": "Bearer sk-guessed"}):
        with pytest.raises(InvalidStatus) as caught:
            async with dial(proxy, additional_headers=headers):
                pass
        assert caught.value.response.status_code == 401
    assert sockets.requests == []
    async with dial(proxy, additional_headers={"Authorization": f"Bearer {SHOP}"}) as near:
        far = await sockets.accepted()
        await near.send("hello")
        assert await far.recv() == "hello"
    assert sockets.requests[0].headers["Authorization"] == f"Bearer {SHOPS_OWN}"


async def test_a_token_in_authorization_leaves_api_key(upstream: Upstream) -> None:
    """Where users' tokens come in ``Authorization``, no client's key is looked for there."""
    settings = Settings.model_validate(
        {
            "flags": {
                "clients": CLIENTS,
                "identity": {
                    "mode": "jwt",
                    "jwt": {"algorithms": ["HS256"], "key": "s" * 32, "header": "Authorization"},
                },
            }
        }
    )
    callers = Callers(settings)
    caller = callers.recognise([(b"authorization", b"Bearer a.b.c"), (b"api-key", SHOP.encode())])
    assert (caller.tenant, caller.credentials) == ("shop", ((b"api-key", SHOPS_OWN.encode()),))
    with pytest.raises(UnauthorizedError):
        callers.recognise([(b"authorization", f"Bearer {SHOP}".encode())])


async def test_the_openai_client_sees_an_authentication_error(guarded: Proxy) -> None:
    """The official client knows what it means, and does not try again."""
    import openai

    async with openai.AsyncOpenAI(base_url=f"{guarded.url}/v1", api_key="sk-guessed") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi."}])
    assert caught.value.code == "memory_proxy_bad_client_key"
