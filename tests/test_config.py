"""Settings: which source goes first, what is refused and how, and that nothing secret is printed."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proxy import config
from proxy.config import Settings
from proxy.errors import ConfigError

SECRET = "sk-not-to-be-seen"


def load(tmp_path: Path, text: str, *, flags: dict[str, Any] | None = None) -> Settings:
    """Settings from a file with this *text*."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path, flags=flags)


def refuse(tmp_path: Path, text: str) -> str:
    """The one line that refuses a file with this *text*."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_need_no_file() -> None:
    """Nothing has to be configured."""
    settings = config.load()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8787)
    assert settings.upstream.base_url == "https://api.openai.com/v1"
    assert settings.admin.token is None


def test_flags_go_before_environment_before_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key by itself; a flag that was not given (None) does not count."""
    text = "server: {host: file, port: 1, keep_alive_s: 11}"
    monkeypatch.setenv("MEMORY_PROXY_SERVER__HOST", "environment")
    monkeypatch.setenv("MEMORY_PROXY_SERVER__PORT", "2")
    server = load(tmp_path, text, flags={"server": {"host": "flag", "port": None}}).server
    assert (server.host, server.port, server.keep_alive_s, server.max_body_mb) == ("flag", 2, 11, 64)


TEMPLATE = "<notes>\n{memories}\n</notes>"


def test_how_memories_are_placed_and_framed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``memory.placement`` and ``memory.template`` from the file, and from the environment over it."""
    assert config.load().memory.placement == "system"
    text = "memory:\n  placement: tail\n  template: |-\n    <notes>\n    {memories}\n    </notes>"
    memory = load(tmp_path, text).memory
    assert (memory.placement, memory.template) == ("tail", TEMPLATE)
    monkeypatch.setenv("MEMORY_PROXY_MEMORY__PLACEMENT", "system")
    monkeypatch.setenv("MEMORY_PROXY_MEMORY__TEMPLATE", "({memories})")
    memory = load(tmp_path, text).memory
    assert (memory.placement, memory.template) == ("system", "({memories})")


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("placement", "middle", "'system' or 'tail'"),
        ("template", "what was said", "{memories}"),
        ("template", "", "{memories}"),
        ("template", "{memories} and {memories}", "once"),
        ("template", "{memory}", "{memories}"),
    ],
)
def test_bad_placements_and_templates(tmp_path: Path, key: str, value: str, wanted: str) -> None:
    """One line has the key, what was set, and what would be right."""
    line = refuse(tmp_path, f"memory: {{{key}: '{value}'}}")
    assert line.startswith(f"memory.{key}: '{value}': ")
    assert wanted in line


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass variables that are not set as empty ones."""
    monkeypatch.setenv("MEMORY_PROXY_ADMIN__TOKEN", "")
    assert config.load().admin.token is None


def test_the_openai_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """``OPENAI_API_KEY`` is the embedder's default key and nothing more; ``OPENAI_BASE_URL`` is never read."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8787/v1")
    settings = config.load()
    assert settings.embedding.api_key is not None
    assert settings.embedding.api_key.get_secret_value() == SECRET
    assert settings.upstream.api_key is None
    assert settings.upstream.base_url == "https://api.openai.com/v1"
    assert settings.embedding.base_url is None


def test_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a value, and as data: what a variable holds adds no keys."""
    monkeypatch.setenv("NAME_OF_HOST", "example.org")
    monkeypatch.setenv("TOKEN_OF_ADMIN", "a: {b: c}")
    settings = load(
        tmp_path, "upstream: {base_url: 'https://${NAME_OF_HOST}/v1/'}\nadmin: {token: '${TOKEN_OF_ADMIN}'}"
    )
    assert settings.upstream.base_url == "https://example.org/v1"
    assert settings.admin.token is not None
    assert settings.admin.token.get_secret_value() == "a: {b: c}"


def test_a_section_without_keys_is_its_defaults(tmp_path: Path) -> None:
    """As when every key of it is commented out; so is an empty file."""
    assert load(tmp_path, "admin:\n  # token: x\n") == load(tmp_path, "") == config.load()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("memory: {budget_token: 5}", "memory.budget_token: unknown key; did you mean budget_tokens?"),
        ("memroy: {}", "memroy: unknown key; did you mean memory?"),
        ("server: {port: 70000}", "server.port: 70000: should be less than or equal to 65535"),
        ("memory: {mode: on}", "memory.mode: True: should be 'full', 'read', 'write', 'shadow' or 'off'"),
        ("upstream: {base_url: api.openai.com}", "upstream.base_url: 'api.openai.com': should be a URL such as"),
        ("upstream: {base_url: 'http://host:port/'}", "upstream.base_url: 'http://host:port/': "),
        ("upstream: {base_url: 'http://host/v1?a=b'}", "should have no query and no fragment"),
        ("identity: {header: 'X User'}", "identity.header: 'X User': should be the name of a header"),
        ("embedding: {provider: openai}", "embedding.model: nothing is set; provider openai needs one"),
        ("admin: {token: '${NO_SUCH_NAME}'}", "admin.token: ${NO_SUCH_NAME} is not set in the environment"),
        ("server: 5", "server: 5: "),
        ("- server", "should be a mapping of sections, not list"),
        ("a: [", "not valid YAML: "),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, told: str) -> None:
    """One line with the key, the value, and what would be right."""
    assert told in refuse(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MEMORY_PROXY_SEVER__PORT", "1", "MEMORY_PROXY_SEVER__PORT: unknown section; did you mean server?"),
        ("MEMORY_PROXY_SERVER__PROT", "1", "server.prot: unknown key; did you mean port?"),
        ("MEMORY_PROXY_SERVER__PORT", "x", "server.port: 'x': should be a valid integer"),
    ],
)
def test_mistakes_in_the_environment_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    """The environment is read as strictly as the file."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        config.load()
    assert told in str(caught.value)


def test_a_service_of_our_name_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets such variables for a service called ``memory-proxy``."""
    monkeypatch.setenv("MEMORY_PROXY_PORT", "tcp://10.0.0.1:8787")
    monkeypatch.setenv("MEMORY_PROXY_SERVICE_HOST", "10.0.0.1")
    assert config.load().server.port == 8787


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a directory, or not text."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing.yaml", tmp_path, binary):
        with pytest.raises(ConfigError, match=f"{path}: cannot be read: "):
            config.load(path)


@pytest.mark.parametrize("text", [f"admin: {{token: [{SECRET}]}}", f"upstream: {{api_key: {{a: {SECRET}}}}}"])
def test_a_refused_secret_is_not_repeated(tmp_path: Path, text: str) -> None:
    """The error names the key, and not what was there."""
    assert SECRET not in refuse(tmp_path, text)


def test_secrets_are_not_printed(tmp_path: Path) -> None:
    """Neither in a repr nor as text or JSON."""
    text = f"admin: {{token: {SECRET}}}\nupstream: {{api_key: {SECRET}}}\nembedding: {{api_key: {SECRET}}}"
    settings = load(tmp_path, text)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_settings_do_not_change() -> None:
    """They are read in several threads and tasks."""
    with pytest.raises(ValidationError):
        config.load().server.port = 1  # type: ignore[misc]  # that it is read-only is what is tested


def test_a_key_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line end of the file that it was read from goes; one within it is an error that does not show the key."""
    monkeypatch.setenv("MEMORY_PROXY_UPSTREAM__API_KEY", "sk-hush\n")
    assert load(tmp_path, "").upstream.authorization == b"Bearer sk-hush"
    monkeypatch.setenv("MEMORY_PROXY_UPSTREAM__API_KEY", "sk-hush\r\nX-Evil: 1")
    with pytest.raises(ConfigError, match=r"upstream\.api_key: .*one line") as caught:
        load(tmp_path, "")
    assert "hush" not in str(caught.value)


def test_an_item_of_a_list_is_named_with_its_value(tmp_path: Path) -> None:
    """By its number; the value is the one that is wrong."""
    path = tmp_path / "config.yaml"
    path.write_text('classification: {rules: [{"name": "x", "pattern": "("}]}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^classification\.rules\.0\.pattern: '\(': should be a regular expression"):
        config.load(path)
