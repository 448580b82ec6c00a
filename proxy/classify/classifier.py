"""One verdict a chat request: a user's turn, or the name of what it is instead."""

import re
from collections.abc import Iterable
from typing import Final

from proxy.classify.catalogue import TOOL_STEP, Catalogue, Job, Label, Place, read_catalogue
from proxy.config import Classification, SkipRule
from proxy.dialects.chat_completions import ChatRequest

# How much of a text is looked at, so that none is expensive: prompts say what they want at their beginning, and where
# they quote a conversation, at its end once more.
HEAD: Final = 4000
TAIL: Final = 1000

# No probe is longer.
_PROBE_LENGTH: Final = 40


class Classifier:
    """Tells jobs, steps and probes from what users say. Keeps nothing between requests; safe from any thread."""

    def __init__(self, settings: Classification) -> None:
        catalogue = read_catalogue() if settings.builtin else None
        self._user = _Prompts("user", catalogue)
        self._system = _Prompts("system", catalogue)
        self._probe = catalogue.probe if catalogue else None
        self._user_patterns = _compile(settings.rules, "user")
        self._system_patterns = _compile(settings.rules, "system")

    def classify(self, request: ChatRequest) -> Label | None:
        """Why *request* is no user's turn, as one of :data:`LABELS`, or None for one that is. Never raises.

        Looked at are the last of the user's new messages, and the first and the last instructions: clients put theirs
        before or after those of the operator.
        """
        if request.is_tool_step:
            return TOOL_STEP
        new = request.new
        text = new[-1].text if new else ""
        return (
            self._find_job(text, request.instructions)
            or (None if new else "no_words")
            or ("health_check" if self._is_probe(text, request) else None)
            or ("custom" if self._is_custom(text, request.instructions) else None)
        )

    def _find_job(self, text: str, instructions: list[str]) -> Label | None:
        found = self._user.find(text)
        if found is None and instructions:
            found = self._system.find(instructions[0])
        if found is None and len(instructions) > 1:
            found = self._system.find(instructions[-1])
        return found

    def _is_probe(self, text: str, request: ChatRequest) -> bool:
        probe = self._probe
        # By what costs least first: nearly every message is longer.
        if probe is None or len(text) > _PROBE_LENGTH or len(request.dialogue) > 1 or request.instructions:
            return False
        said = text.strip().rstrip(".!?").casefold()
        if said in probe.always:
            return True
        limit = request.max_tokens if said in probe.texts else None
        # Where 0 and -1 are taken, they mean no limit.
        return limit is not None and 0 < limit <= probe.max_tokens and not request.has_tools

    def _is_custom(self, text: str, instructions: list[str]) -> bool:
        if self._user_patterns and _any_found(self._user_patterns, text):
            return True
        return bool(self._system_patterns) and _any_found(self._system_patterns, "\n\n".join(instructions))


class _Prompts:
    """The built-in rules for one place."""

    def __init__(self, place: Place, catalogue: Catalogue | None) -> None:
        self._jobs: list[Job] = [job for job in catalogue.job if place in job.where] if catalogue else []
        self._openings = tuple({opening for job in self._jobs for opening in job.begins})
        self._placeholders = catalogue.placeholders if catalogue else ()

    def find(self, text: str) -> Label | None:
        # Nearly every text goes no further than this line: a microsecond, however long it is.
        if not text[:HEAD].lstrip().startswith(self._openings):
            return None
        seen = _clip(text).strip()
        job = next((job for job in self._jobs if job.matches(seen)), None)
        if job is None or any(placeholder in seen for placeholder in self._placeholders):
            return None
        return job.label


def _clip(text: str) -> str:
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def _compile(rules: Iterable[SkipRule], place: Place) -> list[re.Pattern[str]]:
    return [re.compile(rule.pattern) for rule in rules if rule.where == place]


def _any_found(patterns: list[re.Pattern[str]], text: str) -> bool:
    seen = _clip(text)
    return any(pattern.search(seen) for pattern in patterns)
