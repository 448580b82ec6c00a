"""The shape of a language's wordings."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """One language's wordings.

    Attributes:
        openers: the words that such a message may begin with; nothing else is looked at. None for scripts without
            spaces, or whose words have endings.
        script: the characters of a language written in its own.
        lead: what may stand before, and says nothing by itself.
        phrases: regular expressions.
    """

    openers: str = ""
    script: str = ""
    lead: str
    phrases: tuple[str, ...]


# Nothing more of the clause: "wrong." but not "wrong side of the road".
END: Final = r"(?= *(?:[.,;:!…।،。！，、]|$))"
