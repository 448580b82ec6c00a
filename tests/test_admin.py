"""Who may use the control plane."""

from pathlib import Path

import pytest
from starlette.requests import Request

from proxy.config import load
from proxy.edge.admin import FORWARDING, Gatekeeper
from proxy.errors import ApiError


def make_request(client: str = "127.0.0.1", **headers: str) -> Request:
    """A request from *client*, as the server would hand it over."""
    raw = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "127.0.0.1", **headers}.items()
    ]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "client": (client, 1234)})


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
