"""What the log says of identities: that headers are believed, where they are; never an id, a key or a signature."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Chat, Proxy, Upstream, running_upstream
from tests.test_identity_signed import sign

SECRET, KEY = "the-secret-of-the-backend", "mp-the-key-of-the-shop"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def test_trust_is_told_once(tmp_path: Path, upstream: Upstream) -> None:
    """At the start, in mode header, with the header that is believed."""
    with Proxy(tmp_path, upstream.url) as proxy:
        told = proxy.log.wait_for("identity_trusted")
        proxy.wait_ready()
        Chat(proxy.url, "ada").say("Hello!")
        assert proxy.stop() == 0
        proxy.log.wait_for_end()
    assert (told["level"], told["header"]) == ("warning", "X-User-Id")
    assert proxy.log.text.count("identity_trusted") == 1


def test_no_proof_is_logged(tmp_path: Path, upstream: Upstream) -> None:
    """Good or bad, whatever came with it."""
    clients = [{"name": "shop", "key_sha256": hashlib.sha256(KEY.encode()).hexdigest(), "upstream_api_key": "sk-own"}]
    environ = {
        "MEMORY_PROXY_IDENTITY__MODE": "signed",
        "MEMORY_PROXY_IDENTITY__SECRETS": json.dumps([SECRET]),
        "MEMORY_PROXY_CLIENTS": json.dumps(clients),
    }
    forged = sign("somebody", at=1).decode()
    with Proxy(tmp_path, upstream.url, environ=environ) as proxy:
        proxy.wait_ready()
        for key in (KEY, "mp-a-guess"):
            headers = {"X-User-Id": "somebody", "X-User-Signature": forged, "Authorization": f"Bearer {key}"}
            answer = proxy.call("POST", CHAT, json={"messages": []}, headers=headers)
            assert answer.status_code == 401
        assert proxy.stop() == 0
        proxy.log.wait_for_end()
    secrets = (SECRET, KEY, "mp-a-guess", "somebody", forged[-64:], "sk-own")
    assert not [told for told in secrets if told in proxy.log.text]
    assert "identity_trusted" not in proxy.log.text
