"""The keys that say who may ask, as whom, and where replicas meet: what is refused, and that no secret is shown."""

import json
from pathlib import Path

import pytest

from proxy import config
from tests.test_config import load, refuse

HASH = "a" * 64
LONG = "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("identity: {mode: signed}", "identity.secrets: nothing is set; mode signed needs one or more"),
        ("identity: {mode: signed, secrets: [short]}", "should have 16 bytes or more"),
        ("identity: {mode: jwt}", "identity.jwt.algorithms: nothing is set"),
        ("identity: {mode: jwt, jwt: {algorithms: [RS256]}}", "should have one of key, jwks_file and jwks_url"),
        ("identity: {mode: jwt, jwt: {algorithms: [none], key: k}}", "identity.jwt.algorithms.0: 'none': should be"),
        ("identity: {mode: jwt, jwt: {algorithms: [HS256, RS256], key: k}}", "all of shared secrets (HS…), or none"),
        ("identity: {mode: jwt, jwt: {algorithms: [HS256], jwks_file: /k}}", "identity.jwt.key: nothing is set"),
        (
            "identity: {mode: jwt, jwt: {algorithms: [RS256], key: k, jwks_url: 'https://k'}}",
            "should have one of key, jwks_file and jwks_url",
        ),
        ("identity: {max_age_s: 0}", "identity.max_age_s: 0: should be greater than 0"),
        (f"clients: [{{name: a, key_sha256: {HASH[1:]}}}]", "should be 64 hexadecimal digits"),
        (f"clients: [{{name: 'a b', key_sha256: {HASH}}}]", "clients.0.name: 'a b': should have 1 to 64 letters"),
        (
            f"clients: [{{name: a, key_sha256: {HASH}}}, {{name: b, key_sha256: {HASH}}}]",
            "clients: two of them have the same key_sha256",
        ),
        (
            f"clients: [{{name: a, key_sha256: {HASH}}}, {{name: a, key_sha256: {'b' * 64}}}]",
            "clients: two of them have the same name",
        ),
        (f"clients: [{{name: a, key_sha256: {HASH}, limit: 5}}]", "clients.0.limit: unknown key"),
        ("limits: {max_in_flight: 0}", "limits.max_in_flight: 0: should be"),
        ("journal: {url: 'http://host'}", "journal.url: should be sqlite, redis://HOST:PORT/DB"),
        ("journal: {url: 'redis://'}", "journal.url: should be sqlite, redis://HOST:PORT/DB"),
        ("journal: {prefix: 'a b'}", "journal.prefix: 'a b': should have 1 to 64 letters"),
        ("store: {mode: cloud}", "store.api_key: nothing is set; mode cloud needs one"),
        ("store: {mode: http, port: 0}", "store.port: 0: should be"),
        ("admin: {cors_origins: ['https://a/b']}", "should be an origin such as https://ops.example.com"),
        ("admin: {cors_origins: ['*']}", "should be an origin such as https://ops.example.com"),
        ("memory: {holdout_percent: 101}", "memory.holdout_percent: 101: should be less than or equal to 100"),
        ("server: {workers: 0}", "server.workers: 0: should be"),
        ("server: {max_header_kb: 0}", "server.max_header_kb: 0: should be"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, told: str) -> None:
    """One line with the key and what would be right."""
    assert told in refuse(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("identity: {mode: signed, secrets: [tiny-secret]}", "tiny-secret"),
        ("journal: {url: 'rediss://u:tiny-secret@:6379x'}", "tiny-secret"),
        ("journal: {url: 'rdeis://u:tiny-secret@host'}", "tiny-secret"),
        ('identity: {jwt: {key: "tiny\\nsecret"}}', "tiny"),
        ('store: {headers: {authorization: "tiny\\nsecret"}}', "tiny"),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_without_it(tmp_path: Path, text: str, secret: str) -> None:
    """The line names the key alone."""
    assert secret not in refuse(tmp_path, text)


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    """Neither one of a list nor one that is part of an address."""
    text = json.dumps(
        {
            "identity": {"mode": "signed", "secrets": [LONG, f"second-{LONG}"], "jwt": {"key": "third-secret"}},
            "clients": [{"name": "shop", "key_sha256": HASH, "upstream_api_key": "fourth-secret"}],
            "journal": {"url": "rediss://user:fifth-secret@redis.example.com:6380/2"},
            "store": {"mode": "http", "headers": {"authorization": "sixth-secret"}, "api_key": "seventh-secret"},
        }
    )
    settings = load(tmp_path, text)
    shown = repr(settings) + str(settings)
    assert LONG not in shown
    assert "-secret" not in shown
    assert settings.journal.redis_url == "rediss://user:fifth-secret@redis.example.com:6380/2"


def test_a_client_has_a_tenant_of_its_own() -> None:
    """Unless two of them are to share one; a hash may be written in capitals."""
    clients = [
        {"name": "shop", "key_sha256": "A" * 64},
        {"name": "desk", "key_sha256": "b" * 64, "tenant": "shop"},
    ]
    settings = config.load(flags={"clients": clients}, environ={})
    assert [client.effective_tenant for client in settings.clients] == ["shop", "shop"]
    assert settings.clients[0].key_sha256 == HASH


def test_clients_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON, as lists are."""
    monkeypatch.setenv("MEMORY_PROXY_CLIENTS", json.dumps([{"name": "shop", "key_sha256": HASH}]))
    monkeypatch.setenv("MEMORY_PROXY_IDENTITY__JWT__CLAIM", "email")
    settings = config.load()
    assert [client.name for client in settings.clients] == ["shop"]
    assert settings.identity.jwt.claim == "email"


@pytest.mark.parametrize("url", ["redis://host", "rediss://user:word@host:6380/2", "unix:///run/redis.sock?db=1"])
def test_addresses_of_a_shared_journal(url: str) -> None:
    """All that the library reads."""
    assert config.load(flags={"journal": {"url": url}}, environ={}).journal.redis_url == url


def test_by_default_nothing_is_shared() -> None:
    """A file of this one's own."""
    assert config.load(environ={}).journal.redis_url is None
