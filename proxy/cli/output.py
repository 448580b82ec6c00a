"""What commands print: tables for people, JSON for programs, and nothing that a stored text could do to a terminal."""

import os
import sys
import unicodedata
from typing import Any, Final

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wide enough that a file or a pager gets a memory on few lines. On a terminal its own width counts.
WIDTH_WITHOUT_TERMINAL: Final = 160
# About three lines of a wide terminal. JSON has the whole text.
LONGEST_TEXT: Final = 400
# Persian, Indic scripts and emoji are written with them.
JOINERS: Final = "\u200c\u200d"


def make_console(*, stderr: bool = False) -> Console:
    """A console that colours only on a terminal, and takes nothing that it prints for markup."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal or "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


def make_table() -> Table:
    """An empty table in the style of all commands. Texts from outside go through :func:`make_cell`."""
    return Table(box=SIMPLE_HEAD, pad_edge=False)


def make_cell(text: str) -> Text:
    """*text* as one harmless line of some hundred characters."""
    line = " ".join(text[: LONGEST_TEXT * 4].split())
    cut = len(line) > LONGEST_TEXT or len(text) > LONGEST_TEXT * 4
    return Text(make_harmless(f"{line[:LONGEST_TEXT]}…" if cut else line))


def make_id_cell(text: str) -> Text:
    """An id, whole and with every space in it, so that it can be copied."""
    return Text(make_harmless(text))


def make_harmless(text: str) -> str:
    """*text* with control, invisible and direction-changing characters as ``\\x1b`` and the like. Line ends stay."""
    return "".join(c if c == "\n" or not _is_hidden(c) else _escape(c) for c in text)


def _is_hidden(character: str) -> bool:
    # Cc: controls; Cf: direction marks and what has no width; Cs: lone surrogates; Zl, Zp: line ends.
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def count(number: int, noun: str) -> str:
    """*number* of them: ``1 memory``, ``2,000 memories``."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def print_json(value: Any) -> None:
    """One JSON document on standard output: UTF-8 whatever the terminal's encoding is, as JSON wants it."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
