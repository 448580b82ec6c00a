"""``python -m tests.pasting``: runs Python that a reader has pasted, one job a line of JSON, and says what came of it.

One process for all of it, since importing the clients takes longer than running them. A block that fails ends it.
"""

import ast
import asyncio
import contextlib
import importlib.util
import inspect
import io
import json
import sys
from typing import Any


def paste(text: str, names: dict[str, Any]) -> None:
    """As at a prompt: what is awaited outside of a function is awaited."""
    code = compile(text, "<pasted>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        asyncio.run(result)


def tell(value: object) -> object:
    """A dictionary of texts, such as headers; of anything else, that it is there."""
    is_plain = isinstance(value, dict) and all(isinstance(part, str) for pair in value.items() for part in pair)
    return value if is_plain else None


def main() -> None:
    out, names = sys.stdout, dict[str, Any]()
    for line in sys.stdin:
        job = json.loads(line)
        if "names" in job:
            names = {"__name__": "__main__", **job["names"]}
        missing = [module for module in job["needs"] if importlib.util.find_spec(module) is None]
        if not missing:
            with contextlib.redirect_stdout(io.StringIO()):  # what is printed is for the reader
                paste(job["text"], names)
        told = {name: tell(value) for name, value in names.items() if not name.startswith("__")}
        out.write(json.dumps({"missing": missing, "names": told}) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
