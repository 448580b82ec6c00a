"""Every request has an id by which its lines are found: the client's own where a log can have it."""

import re

import pytest
import structlog

from proxy.observe.logs import _add_request_id
from proxy.observe.served import SERVED, Served
from tests.harness import Proxy, Upstream, respond
from tests.harness.payloads import ask, completion
from tests.harness.upstream import JSON

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWN = re.compile(r"[0-9a-f]{16}")


@pytest.mark.parametrize("sent", ["report-4711", "x" * 128, "a b~!"])
async def test_the_clients_id_is_kept(sent: str) -> None:
    """As it is."""
    assert Served("GET", [(b"x-request-id", sent.encode())]).id == sent


@pytest.mark.parametrize("sent", [b"", b"x" * 129, b"a\x7f", b"\xc3\xa9", b"a\tb", b"\x1b[31m"])
async def test_an_id_that_no_log_should_have_is_not(sent: bytes) -> None:
    """One of our own takes its place, the same one whenever it is asked for."""
    served = Served("GET", [(b"x-request-id", sent)])
    assert OWN.fullmatch(served.id)
    assert served.id == served.id  # made once
    assert Served("GET", []).id != served.id


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/memory/users", "/nowhere", "/memory/users/%00"])
async def test_errors_of_our_own_tell_it(proxy: Proxy, path: str) -> None:
    """On both planes, so that a report can be found in the log."""
    bad = {"X-User-Id": "x" * 300, "X-Forwarded-For": "10.0.0.1"}
    answer = await proxy.request("POST", path, headers=bad | {"X-Request-Id": "report-1"}, body=ask("Hi"))
    assert answer.status >= 400
    assert answer.every("x-request-id") == ["report-1"]
    (made,) = (await proxy.request("POST", path, headers=bad, body=ask("Hi"))).every("x-request-id")
    assert OWN.fullmatch(made)


async def test_nothing_is_added_to_what_passes(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """The upstream gets the client's id or none, the client the upstream's or none."""
    upstream.script(respond(completion("Hi."), headers=(JSON, ("x-request-id", "req_upstream"))))
    answer = await proxy.chat(user, ask("Hi"), X_Request_Id="mine")
    assert answer.every("x-request-id") == ["req_upstream"]
    assert upstream.last.every("x-request-id") == [b"mine"]
    answer = await proxy.chat(user, ask("Hi"))
    assert answer.every("x-request-id") == []
    assert upstream.last.every("x-request-id") == []


async def test_a_line_without_a_request_has_none() -> None:
    """And one that has, has it in all that is started meanwhile."""
    logger = structlog.PrintLogger()
    assert _add_request_id(logger, "info", {"event": "e"}) == {"event": "e"}
    token = SERVED.set(Served("GET", [(b"x-request-id", b"mine")]))
    assert _add_request_id(logger, "info", {"event": "e"})["request_id"] == "mine"
    SERVED.reset(token)
