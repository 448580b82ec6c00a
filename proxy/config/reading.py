"""Settings out of a file, the environment and flags; what is wrong with them is told in one line."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from proxy.config.settings import ENV_PREFIX, Settings
from proxy.errors import ConfigError

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
USERINFO = re.compile(r"//[^/@]*@")


def load(
    path: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from a YAML file, the environment and *flags* (nested like the file, ``None`` values left out).

    *environ* fills ``${NAME}`` and is checked for unknown keys; pydantic-settings itself reads the process's own.

    Raises:
        ConfigError: in one line that names the key, the value and what would be right.
    """
    _refuse_unknown_variables(environ)
    file = {} if path is None else _read_file(path, environ)
    layers: dict[str, Any] = {"flags": _prune(flags or {}), "file": file}
    try:
        return Settings(**layers)
    except ValidationError as exc:
        raise ConfigError(_explain(exc.errors()[0], {**file, **layers["flags"]})) from exc


def _prune(tree: Mapping[str, Any]) -> dict[str, Any]:
    pruned = {k: _prune(v) if isinstance(v, Mapping) else v for k, v in tree.items() if v is not None}
    return {k: v for k, v in pruned.items() if v != {}}


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    # Only names with a section: Kubernetes sets MEMORY_PROXY_PORT and the like for a service of our name.
    for name in environ:
        if name.upper().startswith(ENV_PREFIX) and "__" in name:
            section = name[len(ENV_PREFIX) :].split("__")[0].lower()
            if section not in Settings.model_fields:
                raise ConfigError(f"{name}: unknown section{_suggest(section, Settings.model_fields)}")


def _read_file(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(exc).split())}") from exc
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: should be a mapping of sections, not {type(tree).__name__}")
    # A section with every key commented out is None in YAML and means its defaults.
    return {str(k): _substitute(v, environ, str(k)) for k, v in tree.items() if v is not None}


def _substitute(value: Any, environ: Mapping[str, str], key: str) -> Any:
    """*value* with each ``${NAME}`` in its strings replaced; done after parsing, so that no value can add keys."""
    if isinstance(value, dict):
        return {str(k): _substitute(v, environ, f"{key}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [_substitute(v, environ, f"{key}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise ConfigError(f"{key}: ${{{match[1]}}} is not set in the environment")
        return environ[match[1]]

    return VARIABLE.sub(replace, value)


def _explain(error: ErrorDetails, given: Mapping[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if not path:
        return message
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggest(path[-1], _fields_at(path[:-1]))}"
    value = _value_at(path, given)
    # A whole section may have a secret in it.
    if isinstance(value, Mapping | list) or _is_secret(path):
        return message if message.startswith(f"{key}.") else f"{key}: {message}"
    return f"{key}: {USERINFO.sub('//**********@', repr(value))}: {message}"


def _value_at(path: list[str], given: Mapping[str, Any]) -> Any:
    variable = ENV_PREFIX + "__".join(path).upper()
    if variable in os.environ:
        return os.environ[variable]
    node: Any = given
    for part in path:
        if isinstance(node, list) and part.isdigit():
            node = node[int(part)]
        else:
            node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _fields_at(path: list[str]) -> Mapping[str, FieldInfo]:
    """The keys of the section at *path*, where numbers stand for items of a list; none where it is no section."""
    model: type[BaseModel] = Settings
    for part in path:
        if part.isdigit():
            continue
        field = model.model_fields.get(part)
        section = _find_section(field.annotation) if field is not None else None
        if section is None:
            return {}
        model = section
    return model.model_fields


def _find_section(annotation: object) -> type[BaseModel] | None:
    """The section that *annotation* is, or is a list of."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _is_secret(path: list[str]) -> bool:
    """Whether the value is one, or one of several."""
    ends = range(len(path), 0, -1)
    fields = (_fields_at(path[: end - 1]).get(path[end - 1]) for end in ends)
    return any("SecretStr" in str(field.annotation) for field in fields if field is not None)


def _suggest(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(known)}" if known else ""
