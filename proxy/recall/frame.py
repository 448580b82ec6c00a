"""The words around the memories, and how a block is put together so that nothing in it can leave it."""

import re
from collections.abc import Sequence
from typing import Final
from unicodedata import normalize

from proxy.config import DEFAULT_TEMPLATE, MEMORIES

_ADDED: Final = "Also:\n"

_LONGEST_NAME: Final = 40
# The same few people speak in all of a block's lines.
_MOST_NAMES: Final = 1000

_TAG_NAME: Final = re.compile(r"</?\s*([A-Za-z][\w.-]*)")
# What is, or is compatible with, a bracket that begins a tag.
_BRACKET: Final = re.compile("[<‹\\[﹇﹤＜［]")
# Tags (U+E0000) spell out orders that only a model reads.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
# Emoji, Persian and Hindi are written with these.
_JOINERS: Final = re.compile("[\u034f\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# What chat templates of open models take for the beginning or end of somebody's turn: "<|im_end|>", "<s>", "[INST]".
_CONTROL: Final = r"<(?=\||/?(?:s|bos|eos|(?:start|end)_of_turn)>|</?SYS)|\[(?=/?(?:INST|SYSTEM_PROMPT)\])"


class Frame:
    """What ``memory.template`` says: a text with ``{memories}`` in it, once, for the lines to stand in."""

    def __init__(self, template: str = DEFAULT_TEMPLATE) -> None:
        self._opening, self._closing = template.split(MEMORIES)
        self._escaped = _match_tags(template)
        self._names: dict[str, str] = {}

    def compose(self, sheets: Sequence[Sequence[str]]) -> str:
        """The whole block: *sheets* of lines, each with its line end, one sheet after the other.

        What is appended changes nothing before it, but for the closing words.
        """
        lines = [line for number, sheet in enumerate(sheets) for line in ((_ADDED, *sheet) if number else sheet)]
        # The template has a line end of its own behind the last line.
        return f"{self._opening}{''.join(lines).removesuffix(chr(10))}{self._closing}"

    def escape(self, text: str) -> str:
        """*text* as one line, without invisible characters, that neither closes the block nor opens another."""
        line = text.strip()
        if not line.isprintable() or "  " in line:
            line = _UNSEEN.sub("", " ".join(line.split()))
        # Most texts have no such bracket, and looking for one is cheaper than looking for a tag.
        if not _BRACKET.search(line):
            return line
        if not line.isascii() and self._escaped.search(plain := normalize("NFKC", _JOINERS.sub("", line))):
            line = plain
        return self._escaped.sub(lambda match: "(" if match[0] == "[" else "&lt;", line)

    def escape_name(self, name: str) -> str:
        """The beginning of *name*, as :meth:`escape` does it."""
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            known = self._names[name] = self.escape(name[:_LONGEST_NAME])
        return known


def _match_tags(template: str) -> re.Pattern[str]:
    """The bracket of each tag of *template*, in any spelling that a model may read as one: "</memory", "< / MEMORY"."""
    names = sorted({name.lower() for name in _TAG_NAME.findall(template)} | {"memory"})
    tags = "|".join(rf"[<＜‹](?=[\W_]{{0,8}}{re.escape(name)})" for name in names)
    return re.compile(f"{tags}|{_CONTROL}", re.IGNORECASE)
