"""``--tenant``: whose users a command is about, on a data directory and on a server alike."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import invoke, make_line, read_json, write_lines
from tests.processes import Proxy

CONFIGURATION = f"""\
clients:
  - {{name: shop, key_sha256: "{"a" * 64}"}}
  - {{name: desk, key_sha256: "{"b" * 64}", tenant: support}}
"""
TEXTS = {"shop": "I have a dog.", "support": "I have a cat."}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(CONFIGURATION)
    return path


@pytest.fixture(scope="module", params=["directory", "server"])
def where(
    request: pytest.FixtureRequest, config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str | Path]]:
    """The options that lead to memories of two tenants: a data directory, or the proxy that has it open."""
    data_dir = tmp_path_factory.mktemp(request.param) / "data"
    if request.param == "directory":
        yield ["--config", config, "--data-dir", data_dir]
        return
    with Proxy(data_dir, "http://127.0.0.1:9", "--config", str(config)) as proxy:
        proxy.wait_ready()
        yield ["--server", proxy.url]
        assert proxy.stop() == 0


def texts(where: list[str | Path], tenant: str, user: str) -> list[str]:
    found = read_json("memories", user, "--tenant", tenant, *where)
    return sorted(memory["text"] for memory in found["memories"])


def fill(where: list[str | Path], tmp_path: Path, user: str) -> None:
    for tenant, text in TEXTS.items():
        source = write_lines(tmp_path / "source.jsonl", [make_line(user, text)])
        assert invoke("import", source, "--tenant", tenant, *where).exit_code == 0


def test_every_command_keeps_tenants_apart(where: list[str | Path], tmp_path: Path) -> None:
    """Import, list, search, remember, edit and forget: what is done to one tenant's ada does nothing to the other's."""
    fill(where, tmp_path, "ada")
    for tenant, text in TEXTS.items():
        assert texts(where, tenant, "ada") == [text]
        found = read_json("search", "ada", "Which animal do I have?", "--tenant", tenant, *where)
        assert [memory["text"] for memory in found["memories"]] == [text]
    added = read_json("remember", "ada", "I live in Bergen.", "--tenant", "shop", *where)
    read_json("edit", "ada", added["id"], "I live in Oslo.", "--tenant", "shop", *where)
    assert texts(where, "shop", "ada") == ["I have a dog.", "I live in Oslo."]
    refused = invoke("forget", "ada", added["id"], "--yes", "--tenant", "support", *where)
    assert (refused.exit_code, "no memory of this id" in refused.stderr) == (1, True)
    receipt = read_json("forget", "ada", "--yes", "--tenant", "shop", *where)
    assert (receipt["tenant"], receipt["memories"]) == ("shop", 2)
    assert (texts(where, "shop", "ada"), texts(where, "support", "ada")) == ([], [TEXTS["support"]])


def test_users_are_listed_with_their_tenants(where: list[str | Path], tmp_path: Path) -> None:
    """All of them, in a column of its own, or one tenant's."""
    fill(where, tmp_path, "bob")
    rows = read_json("users", "--all", *where)["users"]
    assert {row["tenant"] for row in rows if row["user_id"] == "bob"} == set(TEXTS)
    assert {row["tenant"] for row in read_json("users", "--tenant", "shop", *where)["users"]} == {"shop"}
    shown = invoke("users", *where).stdout
    assert "tenant" in shown
    assert "support" in shown


@pytest.mark.parametrize(
    "command",
    [
        ("memories", "ada"),
        ("search", "ada", "dog?"),
        ("remember", "ada", "I ski."),
        ("edit", "ada", "m", "I ski."),
        ("forget", "ada", "--yes"),
        ("import", "{source}"),
    ],
)
def test_whose_users_has_to_be_said(where: list[str | Path], tmp_path: Path, command: tuple[str, ...]) -> None:
    """One line that names the option; nothing is done."""
    source = write_lines(tmp_path / "source.jsonl", [make_line("ada", "I ski.")])
    result = invoke(*(word.format(source=source) for word in command), *where)
    assert result.exit_code == (1 if "--server" in where else 2)
    assert "--tenant" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "--server" in where or result.stderr.endswith(": shop, support\n")


@pytest.mark.parametrize("tenant", ["a b", "../x", "x" * 65, "ä"])
def test_what_is_no_tenant_is_bad_usage(tmp_path: Path, tenant: str) -> None:
    """Before anything is opened."""
    result = invoke("users", "--tenant", tenant, "--data-dir", tmp_path / "nowhere")
    assert (result.exit_code, "--tenant" in result.stderr) == (2, True)


def test_what_was_there_before_the_clients(where: list[str | Path], tmp_path: Path) -> None:
    """It belongs to the tenant without a name, which can be named."""
    source = write_lines(tmp_path / "source.jsonl", [make_line("eve", "I was here first.")])
    assert invoke("import", source, "--tenant", "", *where).exit_code == 0
    assert texts(where, "", "eve") == ["I was here first."]
    assert texts(where, "shop", "eve") == []
