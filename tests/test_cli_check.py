"""``check`` and ``eval``: what they look at, and what they say of it."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from proxy.keeper.lock import DataDirLock, Holder
from tests.commands import invoke, make_line, write_lines
from tests.processes import read_body, send_json, serve_in_thread
from tests.tokens import jwk, jwks, rsa_key

KEY = "sk-a-key-that-must-not-be-seen"
UPSTREAM_URL = "MEMORY_PROXY_UPSTREAM__BASE_URL"
UPSTREAM_KEY = "MEMORY_PROXY_UPSTREAM__API_KEY"


@contextmanager
def api(status: int, body: bytes = b"{}") -> Iterator[tuple[str, list[str]]]:
    """The base URL of an API that answers everything alike, and the ``Authorization`` headers that it received."""
    seen: list[str] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        seen.append(f"{scope['path']} {dict(scope['headers']).get(b'authorization', b'').decode()}")
        await send_json(send, body, status)

    with serve_in_thread(answer) as url:
        yield f"{url}/v1", seen


def run_check(data_dir: Path, **environ: str) -> tuple[int, dict[str, dict[str, Any]], str]:
    """Exit code, findings by name, and everything that was printed."""
    result = invoke("check", "--json", "--data-dir", data_dir, **environ)
    report = json.loads(result.stdout)
    assert report["healthy"] is (result.exit_code == 0)
    return result.exit_code, {finding["what"]: finding for finding in report["checks"]}, result.output


def test_all_is_well(tmp_path: Path) -> None:
    """Every part is looked at; an upstream that wants a key, and none set, is as it should be."""
    with api(401) as (url, seen):
        code, findings, _ = run_check(tmp_path / "data", **{UPSTREAM_URL: url})
    assert (code, seen) == (0, ["/v1/models "])
    states = {what: finding["state"] for what, finding in findings.items()}
    assert "failed" not in states.values()
    parts = {"configuration", "upstream", "embedder", "store", "journal", "tokens", "identity", "clients", "admin"}
    assert parts == set(states)
    assert "clients send their own" in findings["upstream"]["found"]
    assert "trusted networks" in findings["identity"]["advice"]


@pytest.mark.parametrize(
    ("status", "state"), [(200, "ok"), (401, "failed"), (403, "failed"), (404, "note"), (500, "note")]
)
def test_an_answer_is_judged(tmp_path: Path, status: int, state: str) -> None:
    """Any answer counts as reachable; only a refused key is a failure. The key is sent and never shown."""
    with api(status) as (url, seen):
        code, findings, printed = run_check(tmp_path / "data", **{UPSTREAM_URL: url, UPSTREAM_KEY: KEY})
    assert (findings["upstream"]["state"], code) == (state, int(state == "failed"))
    assert str(status) in findings["upstream"]["found"]
    assert seen == [f"/v1/models Bearer {KEY}"]
    assert KEY not in printed


def test_an_upstream_that_is_away_is_a_failure(tmp_path: Path) -> None:
    """With what to do; a password in the URL is not shown."""
    result = invoke("check", "--data-dir", tmp_path / "data", **{UPSTREAM_URL: "http://me:hush@127.0.0.1:9/v1"})
    assert result.exit_code == 1
    assert "http://127.0.0.1:9/v1/models" in result.stdout
    assert "check upstream.base_url" in result.stdout
    assert "hush" not in result.output


def test_an_embedder_that_fails_is_told_without_its_key(tmp_path: Path) -> None:
    """An API's error message may repeat the key that it refuses."""
    error = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
    with api(401, error) as (url, _):
        environ = {
            UPSTREAM_URL: url,
            "MEMORY_PROXY_EMBEDDING__PROVIDER": "openai",
            "MEMORY_PROXY_EMBEDDING__MODEL": "m",
            "OPENAI_API_KEY": KEY,
        }
        code, findings, printed = run_check(tmp_path / "data", **environ)
    assert (code, findings["embedder"]["state"]) == (1, "failed")
    assert findings["embedder"]["found"] == "openai:m: AuthenticationError, status 401"
    assert "embedding.api_key" in findings["embedder"]["advice"]
    assert KEY not in printed


def test_no_embedder_is_no_failure(tmp_path: Path) -> None:
    """Words alone is a choice."""
    with api(200) as (url, _):
        environ = {UPSTREAM_URL: url, "MEMORY_PROXY_EMBEDDING__PROVIDER": "none"}
        code, findings, _ = run_check(tmp_path / "data", **environ)
    assert (code, findings["embedder"]["state"]) == (0, "ok")


def test_a_store_that_cannot_be_opened_is_a_failure(tmp_path: Path) -> None:
    """What stands in its way is named; the journal is looked at all the same."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "chroma").write_text("in the way")
    with api(200) as (url, _):
        code, findings, _ = run_check(data_dir, **{UPSTREAM_URL: url})
    assert (code, findings["store"]["state"], findings["journal"]["state"]) == (1, "failed", "ok")


def test_a_journal_that_cannot_be_opened_is_a_failure(tmp_path: Path) -> None:
    """The same the other way round."""
    data_dir = tmp_path / "data"
    (data_dir / "journal.lock").mkdir(parents=True)
    with api(200) as (url, _):
        code, findings, _ = run_check(data_dir, **{UPSTREAM_URL: url})
    assert (code, findings["store"]["state"], findings["journal"]["state"]) == (1, "ok", "failed")


def test_a_data_directory_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    """A file in the way is a finding, not a traceback."""
    (tmp_path / "file").touch()
    with api(200) as (url, _):
        code, findings, _ = run_check(tmp_path / "file" / "data", **{UPSTREAM_URL: url})
    assert (code, findings["data directory"]["state"]) == (1, "failed")


def test_a_directory_that_another_command_has_is_told(tmp_path: Path) -> None:
    """There is no server to ask, so that nothing can be said of the store."""
    with api(200) as (url, _), DataDirLock(tmp_path, Holder(os.getpid(), "memory-proxy import")):
        code, findings, _ = run_check(tmp_path, **{UPSTREAM_URL: url})
    assert code == 1
    assert "in use by memory-proxy import" in findings["store"]["found"]


def test_a_server_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    """With ``--server`` the data directory is not touched."""
    with api(200) as (url, _):
        result = invoke(
            "check", "--server", "http://127.0.0.1:9", "--data-dir", tmp_path / "data", **{UPSTREAM_URL: url}
        )
    assert result.exit_code == 1
    assert "http://127.0.0.1:9/readyz" in result.stdout
    assert not (tmp_path / "data").exists()


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """One user and one question about them."""
    write_lines(tmp_path / "conversations.jsonl", [make_line("ada", "My dog Biscuit is a beagle.", "A lovely name.")])
    question = {"user_id": "ada", "id": "1", "type": "single [red]", "asked_at": "2024-06-01T00:00:00Z"}
    asked = {**question, "question": "Which breed is my dog?", "answer": "beagle", "evidence": [["c1", 0]]}
    (tmp_path / "questions.json").write_text(json.dumps([asked]))
    return tmp_path


def test_eval_prints_a_table(data_set: Path) -> None:
    """A row a question type, one for all, and how long a recall takes."""
    result = invoke("eval", data_set)
    assert result.exit_code == 0
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "question type questions share at 500 share at 1,000 share at 2,000 R@10" in rows
    assert "single [red] 1 1.000 1.000 1.000 1.000" in rows
    assert "all 1 1.000 1.000 1.000 1.000" in rows
    assert "1 user, 2 memories, 1 question. A recall takes" in result.stdout


def test_eval_as_json(data_set: Path) -> None:
    """One document with all figures."""
    report = json.loads(invoke("eval", data_set, "--json").stdout)
    assert report["overall"]["recall_at_10"] == 1
    assert report["overall"]["share"] == {"500": 1, "1000": 1, "2000": 1}


def test_eval_needs_a_data_set(tmp_path: Path) -> None:
    """A directory without one is a failure of one line."""
    result = invoke("eval", tmp_path)
    assert result.exit_code == 1
    assert (
        result.stderr == f"memory-proxy: {tmp_path}: neither conversations.jsonl nor conversations.jsonl.gz is there\n"
    )


def test_what_needs_an_extra_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that a server would not start with is no valid one."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.delitem(sys.modules, "proxy.redaction.personal", raising=False)
    result = invoke("check", "--data-dir", tmp_path, MEMORY_PROXY_REDACTION__PERSONAL="true")
    assert result.exit_code == 2
    assert "memory-proxy[personal]" in result.stderr


SECRET = "a-secret-of-enough-bytes"
CLIENT = {"name": "shop", "key_sha256": "a" * 64}


def check_access(folder: Path, **sections: Any) -> tuple[int, dict[str, dict[str, Any]], str]:
    """The findings for a configuration of *sections*."""
    path = folder / "config.yaml"
    path.write_text(json.dumps(sections))
    with api(200) as (url, _):
        result = invoke("check", "--json", "--data-dir", folder / "data", "--config", path, **{UPSTREAM_URL: url})
    findings = {finding["what"]: finding for finding in json.loads(result.stdout)["checks"]}
    return result.exit_code, findings, result.output


def test_signed_identities(tmp_path: Path) -> None:
    """How many secrets, and none of them."""
    identity = {"mode": "signed", "secrets": [SECRET, SECRET + "2"]}
    code, findings, printed = check_access(tmp_path, identity=identity)
    assert (code, findings["identity"]["state"]) == (0, "ok")
    assert "one of 2 secrets, for 300 s" in findings["identity"]["found"]
    assert SECRET not in printed


@pytest.mark.parametrize(
    ("written", "state", "found"),
    [
        (jwks(jwk(rsa_key(), "RS256")), "ok", "X-User-Token is believed with a key for RS256 from"),
        (b"<html>", "failed", "it is no JWKS document"),
        (jwks(), "failed", "it has no key for RS256"),
        (None, "failed", "No such file"),
    ],
)
def test_keys_in_a_file(tmp_path: Path, written: bytes | None, state: str, found: str) -> None:
    """Read as the server would read it."""
    path = tmp_path / "jwks.json"
    if written is not None:
        path.write_bytes(written)
    jwt = {"algorithms": ["RS256"], "jwks_file": str(path), "issuer": "i", "audience": "a"}
    code, findings, _ = check_access(tmp_path, identity={"mode": "jwt", "jwt": jwt})
    assert (code, findings["identity"]["state"]) == (int(state == "failed"), state)
    assert found in findings["identity"]["found"]
    assert str(path) in findings["identity"]["found"]
    assert "tokens of users" not in findings


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (404, "failed")])
def test_keys_at_a_url(tmp_path: Path, status: int, state: str) -> None:
    """Fetched as the server would; what is not checked, and what is not encrypted, is said."""
    with api(status, jwks(jwk(rsa_key(), "RS256"))) as (url, _):
        jwt = {"algorithms": ["RS256"], "jwks_url": url}
        code, findings, _ = check_access(tmp_path, identity={"mode": "jwt", "jwt": jwt})
    assert (code, findings["identity"]["state"]) == (int(state == "failed"), state)
    if state == "ok":
        assert "issuer and audience" in findings["tokens of users"]["found"]
        assert "without TLS" in findings["keys of tokens"]["found"]


@pytest.mark.parametrize(
    ("sections", "state", "found"),
    [
        ({}, "note", "anybody who reaches the proxy may ask"),
        ({"clients": [CLIENT]}, "note", "the upstream gets no key from shop"),
        ({"clients": [{**CLIENT, "tenant": "t", "upstream_api_key": KEY}]}, "ok", "1 key, of the tenants t"),
        ({"clients": [CLIENT], "upstream": {"api_key": KEY}}, "ok", "1 key, of the tenants shop"),
    ],
)
def test_clients_are_told(tmp_path: Path, sections: dict[str, Any], state: str, found: str) -> None:
    """Who may ask, and who would have no key upstream."""
    code, findings, printed = check_access(tmp_path, **sections)
    assert (code, findings["clients"]["state"]) == (0, state)
    assert found in findings["clients"]["found"]
    assert KEY not in printed
    who = "whoever has a client's key" if sections else "whoever reaches the proxy"
    assert who in findings["identity"]["found"]


def test_a_bad_key_of_tokens_is_a_failure(tmp_path: Path) -> None:
    """And is not shown."""
    jwt = {"algorithms": ["HS256"], "key": "brief-secret", "issuer": "i", "audience": "a"}
    code, findings, printed = check_access(tmp_path, identity={"mode": "jwt", "jwt": jwt})
    assert (code, findings["identity"]["state"]) == (1, "failed")
    assert "identity.jwt.key: is too short for HS256" in findings["identity"]["found"]
    assert "brief-secret" not in printed
