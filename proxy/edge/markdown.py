"""Stored texts within the Markdown of an answer: words, and nothing that a chat's window would load, link or run."""

import re
import unicodedata
from typing import Final

# Invisible, between two characters that would make a link of what follows them: no reader of Markdown takes
# "https:/⁠/" for an address, while some undo a backslash before they look for one.
_JOINER: Final = "\u2060"
# What begins emphasis, code, images, links, HTML, entities, strikethrough and formulas within a line.
_ACTIVE: Final = re.compile(r"[\\`*_\[\]<>&~$|]")
_SLASHES: Final = re.compile(r"/(?=/)")
_WWW: Final = re.compile(r"\bwww(?=\.)", re.IGNORECASE)
# Within "evil.example", which some make a link of even so; not at the end of a sentence.
_DOT: Final = re.compile(r"(?<=\w)\.(?=[^\W\d_])")
# Persian, Indic scripts and emoji are written with them.
_JOINERS: Final = "\u200c\u200d"


def quote(text: str, *, limit: int) -> str:
    """*text* as one line of at most about *limit* characters that shows as it was said."""
    line = " ".join("".join(map(_show, text[: limit * 4])).split())
    if len(line) > limit or len(text) > limit * 4:
        line = f"{line[:limit].rstrip()}…"
    return _neutralise(line)


def _show(character: str) -> str:
    """Controls, marks of direction and the like as a space: what cannot be seen cannot be judged."""
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS
    return " " if hidden else character


def _neutralise(line: str) -> str:
    line = _ACTIVE.sub(r"\\\g<0>", line)
    line = _SLASHES.sub(f"/{_JOINER}", line)
    line = _WWW.sub(rf"\g<0>{_JOINER}", line)
    return _DOT.sub(r"\\.", line)
