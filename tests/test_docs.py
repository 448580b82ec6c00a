"""Documents that cannot lie: the example configuration is the configuration."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel

from proxy import config
from proxy.cli.main import COMMANDS, make_cli
from proxy.config import Settings
from proxy.observe.metrics import TABLE
from tests.processes import REPOSITORY
from tests.readme import README, read_document, read_readme

DOCUMENT = read_readme()
EXAMPLE = REPOSITORY / "config.example.yaml"
SECTION = re.compile(r"( *)(\w+):$")
KEY = re.compile(r"( *)(?:# )?(\w+): \S")
INDENT = 2
CODE = re.compile(r"`([^`]+)`")
SECTIONS = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
KEY_IN_PROSE = re.compile(rf"(?P<section>{'|'.join(SECTIONS)})\.(?P<key>\w+)(?:: (?P<value>.+))?")
BLANK = re.compile(r"…|[A-Z]{3}")  # something that stands for a value


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


def find_command(name: str) -> Any:
    """With its options. Typer has a click of its own, without public types."""
    group: Any = typer.main.get_command(make_cli())
    assert name in group.commands, f"memory-proxy has no command {name}"
    return group.commands[name]


def list_options(command: Any) -> dict[str, str]:
    """Each by its name, with what stands for its value; nothing does for one that has none."""
    return {
        name: "" if getattr(parameter, "is_flag", False) else parameter.metavar or parameter.name.upper()
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in parameter.opts
    }


def test_the_command_table_is_true() -> None:
    """Each row is of commands that there are; each option that a row names is one of theirs, with its value's name."""
    rows = DOCUMENT.find_table("command", "does")
    assert rows
    for names, does, *_ in rows:
        spelled = CODE.findall(names)
        known: dict[str, str] = {}
        for words in map(str.split, spelled):
            command = find_command(words[0])
            known |= list_options(command)
            arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
            assert len(words) - 1 <= len(arguments), f"{' '.join(words)}: takes {len(arguments)} arguments"
        for option, value in re.findall(r"(--[\w-]+)(?: ([A-Z][\w.]*))?", " ".join(CODE.findall(does))):
            assert option in known, f"{names} has no option {option}"
            assert not value or value == known[option], f"{names}: {option} takes {known[option]}"


def test_commands_in_prose_are_right() -> None:
    """Whatever ``memory-proxy …`` stands in backticks: the command is there, and so are its options."""
    spelled = [(number, code.split()[1:]) for number, code in DOCUMENT.codes if code.startswith("memory-proxy ")]
    assert spelled
    for number, words in spelled:
        known = list_options(find_command(words[0]))
        wrong = [word for word in words[1:] if word.startswith("--") and word not in known]
        assert wrong == [], f"line {number}: memory-proxy {words[0]} has no {wrong}"


def test_keys_in_prose_are_right() -> None:
    """Whatever ``section.key`` stands in backticks is a key of the configuration, and takes the value beside it."""
    spelled = [(number, match) for number, code in DOCUMENT.codes if (match := KEY_IN_PROSE.fullmatch(code))]
    assert len(spelled) > 40
    for number, match in spelled:
        section, key, value = match["section"], match["key"], match["value"]
        assert any(known == f"{section}.{key}" or known.startswith(f"{section}.{key}.") for known in KEYS), (
            f"line {number}: there is no {section}.{key}"
        )
        if value and not BLANK.search(value):
            SECTIONS[section].model_validate({key: yaml.safe_load(value)})


def test_links_lead_somewhere() -> None:
    """Files are there, and so are the headings that anchors name; also in what the README leads to."""
    for path in (README, REPOSITORY / "deploy" / "README.md"):
        document = read_document(path.read_text(encoding="utf-8"))
        for link in document.links:
            if link.startswith(("http://", "https://")):
                continue
            file, _, anchor = link.partition("#")
            target = path.parent / file if file else path
            assert target.exists(), f"{path.name}: {link}"
            if anchor:
                assert anchor in read_document(target.read_text(encoding="utf-8")).anchors, f"{path.name}: {link}"


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
