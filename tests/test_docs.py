"""Documents that cannot lie: the example configuration is the configuration."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from proxy import config
from proxy.cli.main import COMMANDS
from proxy.config import Settings
from proxy.observe.metrics import TABLE
from tests.processes import REPOSITORY

README = REPOSITORY / "README.md"
EXAMPLE = REPOSITORY / "config.example.yaml"
SECTION = re.compile(r"( *)(\w+):$")
KEY = re.compile(r"( *)(?:# )?(\w+): \S")
INDENT = 2


def list_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of the configuration, as ``section.key``."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from list_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def list_example_keys(text: str) -> Iterator[tuple[str, str]]:
    """Every key of the example, commented out or not, with the line before it."""
    sections: list[str] = []
    before = ""
    for line in text.splitlines():
        if head := SECTION.match(line):
            sections[len(head[1]) // INDENT :] = [head[2]]
        elif match := KEY.match(line):
            key = ".".join([*sections[: len(match[1]) // INDENT], match[2]])
            if key in KEYS:  # else prose with a colon
                yield key, before
        before = line


def list_set_keys(tree: dict[str, object], prefix: str = "") -> Iterator[str]:
    """Every key that a file sets, but those of things in lists."""
    for name, value in tree.items():
        if isinstance(value, dict) and f"{prefix}{name}" not in KEYS:
            yield from list_set_keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


KEYS = frozenset(list_keys(Settings))


def test_the_example_is_the_defaults() -> None:
    """Every value that is not commented out is the default."""
    assert config.load(EXAMPLE) == config.load()


def test_the_example_has_every_key() -> None:
    """Each exactly once."""
    keys = [key for key, _ in list_example_keys(EXAMPLE.read_text(encoding="utf-8"))]
    assert sorted(keys) == sorted(KEYS)


def test_every_key_is_explained() -> None:
    """A comment stands before it."""
    for key, before in list_example_keys(EXAMPLE.read_text(encoding="utf-8")):
        assert before.lstrip().startswith("# "), key


def test_the_readme_has_every_command() -> None:
    """Its table names what the command line has."""
    table = [line.partition("|")[2].partition("|")[0] for line in README.read_text(encoding="utf-8").splitlines()]
    for name in COMMANDS:
        assert any(f"`{name}" in cell for cell in table), name


def test_the_readme_has_every_metric() -> None:
    """Its table says of each what the table in the source says."""
    text = README.read_text(encoding="utf-8")
    rows = [f"| `{row.name}` | {row.kind} | {', '.join(row.labels)} | {row.help} |" for row in TABLE]
    assert [row for row in rows if row not in text] == []


def test_what_is_commented_out_is_right_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the comments before keys taken away, and the variables set, the file loads and sets every key."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, "x" * 16)
    names = "|".join({key.rpartition(".")[2] for key in KEYS})
    path = tmp_path / "config.yaml"
    path.write_text(re.sub(rf"^( *)# ((?:{names}): \S+)$", r"\1\2", text, flags=re.MULTILINE), encoding="utf-8")
    config.load(path)
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(list_set_keys(tree)) == KEYS
