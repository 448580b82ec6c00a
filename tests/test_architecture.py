"""The direction of imports, read from the source: down only, in no circle, and the edge never towards the store."""

import ast
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import proxy

ROOT = Path(proxy.__file__).parent

# From the roof to the ground. A module belongs to the longest name that it begins with, and may import what lies
# further down or in its own room; rooms of one floor do not know of each other.
FLOORS: list[set[str]] = [
    {"proxy.__main__"},
    {"proxy.cli"},
    {"proxy.bench", "proxy.evaluation"},
    {"proxy.reporting"},
    {"proxy.serving", "proxy.keeper.__main__"},
    {"proxy.app", "proxy.keeper.server"},
    {
        "proxy.keeper.workshop",
        "proxy.keeper.bulletin",
        "proxy.keeper.inquiries",
        "proxy.keeper.feed",
        "proxy.keeper.reembedding",
        "proxy.keeper.precedence",
    },
    {"proxy.keeper.mover"},
    {"proxy.edge", "proxy.keeper.vault", "proxy.mock", "proxy.workers"},
    {
        "proxy.recall",
        "proxy.keeper.supervise",
        "proxy.keeper.catalogue",
        "proxy.keeper.erasure",
        "proxy.keeper.migration",
    },
    {"proxy.keeper.link"},
    {"proxy.keeper.client", "proxy.keeper.lock", "proxy.remember", "proxy.imports"},
    {
        "proxy.keeper.wire",
        "proxy.keeper.frames",
        "proxy.workingset",
        "proxy.packing",
        "proxy.journal",
        "proxy.stores",
        "proxy.classify",
    },
    {"proxy.experiment", "proxy.keeper.moves"},
    {"proxy.dialects", "proxy.embedders", "proxy.extraction", "proxy.identity", "proxy.ledger", "proxy.observe"},
    {"proxy.upstream", "proxy.sharing"},
    {"proxy.redaction"},
    {"proxy.children", "proxy.cores", "proxy.listening", "proxy.versions"},
    {"proxy.config", "proxy.tasks", "proxy.text", "proxy.tokens", "proxy.chain"},
    {"proxy.models", "proxy.errors", "proxy.address", "proxy.durable"},
    {"proxy.statements"},
    {"proxy.cues"},
    {"proxy", "proxy.keeper"},  # nothing but a version and a docstring
]
EDGE_ONLY = ("proxy.edge", "proxy.recall", "proxy.app", "proxy.serving", "proxy.workingset")
KEEPER_ONLY = (
    "proxy.keeper.server",
    "proxy.keeper.vault",
    "proxy.keeper.workshop",
    "proxy.keeper.bulletin",
    "proxy.keeper.inquiries",
    "proxy.keeper.catalogue",
    "proxy.keeper.erasure",
    "proxy.keeper.lock",
    "proxy.keeper.migration",
    "proxy.keeper.mover",
    "proxy.keeper.reembedding",
    "proxy.remember",
    "proxy.stores",
    "proxy.ledger",
    "proxy.extraction",
)
LONGEST_FUNCTION = 60
LONGEST_FILE = 400


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parse(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text("utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """What *module* imports, anywhere in it and also for type checkers only: full names of modules, others' too."""
    names: set[str] = set()
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            origin = node.module or ""
            names.update(full if (full := f"{origin}.{alias.name}") in modules() else origin for alias in node.names)
    return frozenset(names)


def own(module: str) -> set[str]:
    return {name for name in imports(module) if name in modules()}


def room(module: str) -> str:
    names = [name for floor in FLOORS for name in floor if module == name or module.startswith(f"{name}.")]
    return max(names, key=len)


def floor(module: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if room(module) in names)


def reach(module: str) -> set[str]:
    """All that is imported with *module*, its packages included."""
    reached: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting |= {".".join(name.split(".")[:end]) for end in range(1, name.count(".") + 1)}
            waiting |= {n for n in (imports(name) if name in modules() else ()) if n in modules() or "." not in n}
            waiting |= {n.split(".")[0] for n in (imports(name) if name in modules() else ()) if n not in modules()}
    return reached


def within(names: set[str], rooms: tuple[str, ...]) -> set[str]:
    return {name for name in names if name.startswith(rooms)}


def test_every_module_has_its_floor() -> None:
    """A new module at the top level has to say where it belongs."""
    assert {name for name in modules() if room(name) == "proxy"} == {"proxy"}
    assert {name for name in modules() if room(name) == "proxy.keeper"} == {"proxy.keeper"}


def test_imports_point_down() -> None:
    """Nothing imports what lies above it, or beside it in another room."""
    wrong = {
        f"{module} → {name}"
        for module in modules()
        for name in own(module)
        if room(name) != room(module) and floor(name) <= floor(module)
    }
    assert wrong == set()


def test_no_circle() -> None:
    """Not within a room either. That a package's __init__ names its modules is how they are found from outside."""
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    graph = {name: own(name) - ({name} | (packages if name not in packages else set())) for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(f"circle: {' → '.join(exc.args[1])}")


def test_the_edge_does_not_reach_the_store() -> None:
    """Whatever the serving process imports, chromadb and the keeper's side are not part of it."""
    reached = reach("proxy.serving")
    assert within(reached, KEEPER_ONLY) == set()
    assert "chromadb" not in reached
    assert {"proxy.keeper.wire", "uvicorn"} <= reached


def test_the_keeper_does_not_reach_the_edge() -> None:
    """The keeper knows nothing of clients."""
    reached = reach("proxy.keeper.__main__")
    assert within(reached, EDGE_ONLY) == set()
    assert reached.isdisjoint({"starlette", "uvicorn", "aiohttp", "httpx2"})


def test_only_stores_speak_to_chroma() -> None:
    """And nobody else imports those that do, by name."""
    speakers = {module for module in modules() if any(name.split(".")[0] == "chromadb" for name in imports(module))}
    assert speakers == {f"proxy.stores.{name}" for name in ("chroma", "connection", "embedded", "remote")}
    assert {module for module in modules() if imports(module) & speakers} <= speakers


@pytest.mark.parametrize("module", ["proxy.app", "proxy.serving", "proxy.cli"])
def test_chroma_is_not_loaded(module: str) -> None:
    """In a fresh process, importing what serves clients loads no database, and no store."""
    script = (
        f"import sys, {module}; print([m for m in ('chromadb', 'proxy.stores', 'proxy.remember') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT.parent)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_no_room_is_crowded() -> None:
    """None holds more than a sixth of the house."""
    lines = {name: path.read_text("utf-8").count("\n") for name, path in modules().items()}
    rooms: Counter[str] = Counter()
    for name, length in lines.items():
        rooms[".".join(name.split(".")[:2])] += length
    assert {name: length for name, length in rooms.items() if length * 6 > sum(lines.values())} == {}


def test_nothing_is_global_by_assignment() -> None:
    """No function writes a module's variables."""
    writers = {
        name for name in modules() if any(isinstance(node, ast.Global | ast.Nonlocal) for node in ast.walk(parse(name)))
    }
    assert writers == set()


def test_functions_and_files_are_short() -> None:
    """Limits, not aims: what is longer does more than one thing."""
    functions = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1
        for module in modules()
        for node in ast.walk(parse(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    files = {module: path.read_text("utf-8").count("\n") for module, path in modules().items()}
    assert {name: length for name, length in functions.items() if length > LONGEST_FUNCTION} == {}
    assert {name: length for name, length in files.items() if length > LONGEST_FILE} == {}
