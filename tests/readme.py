"""Documents in Markdown, by what can be checked in them: blocks, links, anchors, tables and what is in backticks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.processes import REPOSITORY

README: Final = REPOSITORY / "README.md"

_FENCE: Final = re.compile(r"^( *)(`{3,})(.*)$")
_HEADING: Final = re.compile(r"^(#{1,6}) +(.+?) *#*$")
_LINK: Final = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_CELL: Final = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Block:
    """A fenced block. *before* are those of its language that stand above it under the same heading: a reader who has
    come so far has them, too.
    """

    language: str
    text: str
    line: int
    heading: str
    before: tuple["Block", ...] = ()

    def __str__(self) -> str:
        return f"{self.language or 'nothing'}-{self.line}"


@dataclass(frozen=True)
class Document:
    """*prose*: its lines outside of blocks, each with its number."""

    blocks: list[Block]
    prose: list[tuple[int, str]]
    headings: list[str]

    @property
    def anchors(self) -> set[str]:
        """As GitHub makes them of headings."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in self.headings}

    @property
    def links(self) -> list[str]:
        return [target for _, line in self.prose for target in _LINK.findall(_CODE.sub("", line))]

    @property
    def codes(self) -> list[tuple[int, str]]:
        """What stands in backticks, with its line."""
        return [(number, code) for number, line in self.prose for code in _CODE.findall(line)]

    def find_table(self, *head: str) -> list[list[str]]:
        """The rows of the table that begins with these columns, without its head."""
        lines = [line for _, line in self.prose]
        for number, line in enumerate(lines):
            if line.startswith("|") and split_row(line)[: len(head)] == list(head):
                rows = iter(lines[number + 2 :])
                return [split_row(row) for row in _take_table(rows)]
        raise AssertionError(f"there is no table of {', '.join(head)}")


def _take_table(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def split_row(line: str) -> list[str]:
    return [cell.strip().replace(r"\|", "|") for cell in _CELL.split(line.strip().strip("|"))]


def read_document(text: str) -> Document:
    """A document. A block that is not closed is a failure."""
    blocks: list[Block] = []
    prose: list[tuple[int, str]] = []
    headings: list[str] = []
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        if fence := _FENCE.match(line):
            body = "".join(_take_block(fence, number, lines))
            language = fence[3].strip().split(" ")[0]
            above = tuple(b for b in blocks if (b.language, b.heading) == (language, headings[-1] if headings else ""))
            blocks.append(Block(language, body, number, headings[-1] if headings else "", above))
            continue
        if heading := _HEADING.match(line):
            headings.append(re.sub(r"[`*]", "", heading[2]))
        prose.append((number, line))
    return Document(blocks, prose, headings)


def _take_block(fence: re.Match[str], begun: int, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    indent, ticks = len(fence[1]), fence[2]
    for _, line in lines:
        if line.strip() == ticks:
            return
        yield f"{line[indent:] if not line[:indent].strip() else line}\n"
    raise AssertionError(f"the block that begins in line {begun} is not closed")


def read_readme() -> Document:
    return read_document(README.read_text("utf-8"))
