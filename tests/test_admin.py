"""Who may use the control plane."""

import hmac
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.requests import Request

from proxy.config import load
from proxy.edge.admin import FORWARDING, SINGLE, Gatekeeper
from proxy.edge.attempts import MOST, WINDOW_S, FailedAttempts
from proxy.errors import ApiError


def make_request(client: str = "127.0.0.1", **headers: str) -> Request:
    """A request from *client*, as the server would hand it over."""
    raw = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "127.0.0.1", **headers}.items()
    ]
    return make_raw_request(raw, client)


def make_raw_request(headers: Sequence[tuple[bytes, bytes]], client: str = "127.0.0.1") -> Request:
    """The same from headers as they were sent."""
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers, "client": (client, 1234)})


def make_gatekeeper(tmp_path: Path, token: str | None = None) -> Gatekeeper:
    """A gatekeeper with or without a token."""
    return Gatekeeper(load(flags={"data_dir": tmp_path, "admin": {"token": token}}, environ={}))


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.10", "::1"])
def test_this_machine_needs_no_token_where_none_is_set(tmp_path: Path, client: str) -> None:
    """Every loopback address is this machine."""
    assert make_gatekeeper(tmp_path).check(make_request(client)) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("client", ["10.0.0.1", "::2", "testclient", ""])
def test_other_machines_are_refused_where_no_token_is_set(tmp_path: Path, client: str) -> None:
    """Neither another address nor something that is none passes."""
    with pytest.raises(ApiError) as caught:
        make_gatekeeper(tmp_path).check(make_request(client))
    assert caught.value.status == 403


@pytest.mark.parametrize("header", FORWARDING)
def test_what_came_through_another_proxy_needs_a_token(tmp_path: Path, header: str) -> None:
    """A reverse proxy on this machine does not make the whole world local."""
    request = make_request(**{header: "203.0.113.9"}, authorization="Bearer s3cret")
    with pytest.raises(ApiError) as caught:
        make_gatekeeper(tmp_path).check(request)
    assert caught.value.status == 403
    make_gatekeeper(tmp_path, "s3cret").check(request)


def refusal(gatekeeper: Gatekeeper, request: Request) -> ApiError:
    """With what a request is turned away."""
    with pytest.raises(ApiError) as caught:
        gatekeeper.check(request)
    return caught.value


def test_ipv4_on_a_socket_for_both_families_is_this_machine(tmp_path: Path) -> None:
    """And no other machine becomes this one by it."""
    make_gatekeeper(tmp_path).check(make_request("::ffff:127.0.0.1"))
    make_gatekeeper(tmp_path).check(make_request(host="[::ffff:127.0.0.1]:8787"))
    assert refusal(make_gatekeeper(tmp_path), make_request("::ffff:10.0.0.1")).status == 403


@pytest.mark.parametrize("token", [None, "s3cret"])
@pytest.mark.parametrize("name", SINGLE)
def test_what_must_be_clear_is_sent_once(tmp_path: Path, token: str | None, name: str) -> None:
    """Of two that are the same, too: nobody knows at which another server on the way has looked."""
    values = {"authorization": "Bearer s3cret", "host": "127.0.0.1", "origin": "http://127.0.0.1"}
    sent = [(key.encode(), value.encode()) for key, value in values.items()]
    twice = [*sent, (name.encode(), values[name].encode())]
    assert refusal(make_gatekeeper(tmp_path, token), make_raw_request(twice)).status == 400
    make_gatekeeper(tmp_path, token).check(make_raw_request(sent))


@pytest.mark.parametrize(
    ("site", "mode", "passes"),
    [
        ("cross-site", "no-cors", False),
        ("same-site", "cors", False),
        ("cross-site", "navigate", True),
        ("same-origin", "cors", True),
        ("none", "navigate", True),
    ],
)
def test_what_a_foreign_page_embeds_is_refused(tmp_path: Path, site: str, mode: str, passes: bool) -> None:
    """Browsers send no Origin with it, but say where it is from. A link may be followed."""
    request = make_request(sec_fetch_site=site, sec_fetch_mode=mode)
    if passes:
        make_gatekeeper(tmp_path).check(request)
    else:
        assert refusal(make_gatekeeper(tmp_path), request).code == "memory_proxy_foreign_origin"


def test_who_guesses_has_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten wrong tokens within a minute an address is not looked at, whatever it sends; others are. When the first
    of the ten is a minute old, one more may be tried.
    """
    now = 100.0
    monkeypatch.setattr("proxy.edge.admin.FailedAttempts", lambda: FailedAttempts(lambda: now))
    gatekeeper = make_gatekeeper(tmp_path, "s3cret")
    wrong = make_request("192.0.2.1", authorization="Bearer wrong")
    right = make_request("192.0.2.1", authorization="Bearer s3cret")
    for _ in range(MOST):
        assert refusal(gatekeeper, wrong).status == 401
        now += 1
    for request in (wrong, right, make_request("192.0.2.1")):
        refused = refusal(gatekeeper, request)
        assert (refused.status, refused.retry_after) == (429, 50)
    gatekeeper.check(make_request("192.0.2.2", authorization="Bearer s3cret"))
    now += 50
    gatekeeper.check(right)
    assert refusal(gatekeeper, wrong).status == 401
    assert refusal(gatekeeper, right).retry_after == 1


def test_who_sends_nothing_guesses_nothing(tmp_path: Path) -> None:
    """A program that was not given the token does not lock out the person at the same address."""
    gatekeeper = make_gatekeeper(tmp_path, "s3cret")
    for _ in range(3 * MOST):
        assert refusal(gatekeeper, make_request()).status == 401
    gatekeeper.check(make_request(authorization="Bearer s3cret"))


def test_a_network_of_ipv6_is_one_address() -> None:
    """Whoever has one address of it has all of them. IPv4 within IPv6 is IPv4."""
    attempts = FailedAttempts(lambda: 0.0)
    for number in range(MOST):
        attempts.note(f"2001:db8:1:2::{number:x}")
        attempts.note(f"::ffff:192.0.2.{1 + number % 2}")
    assert attempts.wait_s("2001:db8:1:2:ffff::1") == WINDOW_S
    assert attempts.wait_s("2001:db8:1:3::1") == attempts.wait_s("192.0.2.1") == 0
    assert len(attempts) == 3


def test_addresses_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood from everywhere costs no more memory; who failed last is remembered longest."""
    monkeypatch.setattr("proxy.edge.attempts.MOST_ADDRESSES", 5)
    attempts = FailedAttempts(lambda: 0.0)
    for _ in range(MOST):
        attempts.note("192.0.2.1")
    for number in range(4):
        attempts.note(f"198.51.100.{number}")
    attempts.note("192.0.2.1")
    attempts.note("198.51.100.99")
    assert len(attempts) == 5
    assert attempts.wait_s("192.0.2.1") == WINDOW_S


@pytest.mark.parametrize("sent", ["", "s", "s3cre", "s3cret2", "S3CRET", "x" * 10_000, "s3cret\x00"])
def test_tokens_of_any_length_are_compared_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    """Digests of equal length, in constant time: nothing is told of how long the token is."""
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    refused = refusal(make_gatekeeper(tmp_path, "s3cret"), make_request(authorization=f"Bearer {sent}"))
    assert refused.status == 401
    assert [(len(a), len(b)) for a, b in compared] == [(32, 32)]
