"""The built-in rules, as ``jobs.toml`` has them.

TOML and not Python, because an operator who asks why a request was skipped should be able to read the answer, and
compare it with what a client sends, without knowing the language. Literal fragments and not patterns, because the
prompts that are looked for are literal themselves: nothing needs escaping, nothing matches more than it says, and no
message, however made, costs more than one scan a fragment.
"""

import tomllib
from importlib.resources import files
from typing import Final, Literal, get_args

import msgspec

Label = Literal[
    "title",
    "tags",
    "follow_ups",
    "search_queries",
    "rephrase",
    "summary",
    "autocomplete",
    "emoji",
    "image_prompt",
    "tool_choice",
    "merge",
    "sorting",
    "translation",
    "commit_message",
    "health_check",
    "tool_step",
    "no_words",
    "custom",
]
LABELS: Final[tuple[str, ...]] = get_args(Label)
TOOL_STEP: Final = "tool_step"

Place = Literal["user", "system"]


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt of a client's own. *source*: the product that sends it; *example*: one in its form.

    It is found in a message that begins with one of *begins*, has every one of *contains* in it and ends with one of
    *ends*, if any are given: who quotes such a prompt and says something about it has said something.
    """

    label: Label
    source: str
    begins: tuple[str, ...]
    example: str
    contains: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    where: tuple[Place, ...] = ("user",)

    def matches(self, text: str) -> bool:
        """*text* without white space at its ends."""
        return (
            text.startswith(self.begins)
            and all(fragment in text for fragment in self.contains)
            and (not self.ends or text.endswith(self.ends))
        )


class Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What monitors send to see whether a model answers: one of *texts* for at most *max_tokens*, or one of *always*.

    Compared in lower case and without the punctuation at the end.
    """

    max_tokens: int
    texts: frozenset[str]
    always: frozenset[str]


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. *placeholders*: a text with one of them is a template that somebody asks about, not a job."""

    placeholders: tuple[str, ...]
    probe: Probe
    job: tuple[Job, ...]


def read_catalogue() -> Catalogue:
    """Reads the file that comes with the package: some milliseconds, once."""
    text = files("proxy.classify").joinpath("jobs.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), Catalogue)
