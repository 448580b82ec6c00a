"""What fits into one call: batches are split, and what is not the user's is cut in its midst."""

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.extraction.base import Batch, Known, Said
from proxy.extraction.prompt import Prompt, make_prompt
from proxy.tokens import estimate

# With the rules, about 6,000 tokens a call.
INPUT_TOKENS: Final = 5_000
KNOWN_TOKENS: Final = 1_000
# Enough to see what the user answers to.
ASSISTANT_TOKENS: Final = 300
CONTEXT_TOKENS: Final = 1_200
# Of 48,000 tokens of one batch the first are looked at: more is a pasted book. What was said is kept in any case.
MOST_CALLS: Final = 8
# Around a message in the prompt.
_FRAME_TOKENS: Final = 30
# A character has no more tokens; a letter has a quarter of one.
_MOST_PER_CHARACTER: Final = 2.5
_GAP: Final = "\n[…]\n"

_Shown = tuple[Said, str]


def split_batch(batch: Batch) -> list[Prompt]:
    """The calls that *batch* takes; none if nothing in it is the user's and new."""
    known = _choose_known(batch.known)
    return [
        make_prompt([said for said, _ in portion], [text for _, text in portion], known)
        for portion in _split(batch.messages)
    ][:MOST_CALLS]


def _choose_known(known: Sequence[Known]) -> list[Known]:
    chosen, total = [], 0
    for fact in known:
        total += estimate(fact.text) + 10
        if total > KNOWN_TOKENS:
            break
        chosen.append(fact)
    return chosen


def _split(messages: Sequence[Said]) -> Iterator[list[_Shown]]:
    context = _choose_context([said for said in messages if said.context])
    portion: list[_Shown] = list(context)
    used = _count(portion)
    for shown in _cut_all([said for said in messages if not said.context]):
        tokens = _count([shown])
        if used + tokens > INPUT_TOKENS and _is_worth_it(portion):
            yield portion
            portion = [portion[-1]] if portion[-1][0].role == "assistant" else []
            used = _count(portion)
        portion.append(shown)
        used += tokens
    if _is_worth_it(portion):
        yield portion


def _is_worth_it(portion: Sequence[_Shown]) -> bool:
    return any(is_quotable(said) and text.strip() for said, text in portion)


def is_quotable(said: Said) -> bool:
    """Whether facts may come from it."""
    return said.role == "user" and not said.context


def _choose_context(messages: Sequence[Said]) -> list[_Shown]:
    """The last of what was looked at before."""
    chosen: list[_Shown] = []
    for said in reversed(messages):
        shown = (said, shorten(said.text, ASSISTANT_TOKENS))
        if _count([*chosen, shown]) > CONTEXT_TOKENS:
            break
        chosen.append(shown)
    return chosen[::-1]


def _cut_all(messages: Sequence[Said]) -> Iterator[_Shown]:
    room = INPUT_TOKENS - CONTEXT_TOKENS
    for said in messages:
        if said.role != "user":
            yield said, shorten(said.text, ASSISTANT_TOKENS)
        else:
            yield from ((said, part) for part in _split_text(said.text, room))


def _split_text(text: str, tokens: int) -> Iterator[str]:
    """Parts of *text*, each of at most about *tokens*, between lines or words where there are any."""
    while estimate(text) > tokens:
        place = max(1, int(len(text) * tokens / estimate(text)))
        while place > 1 and estimate(text[:place]) > tokens:
            place = max(1, place * 9 // 10)
        place = max(text.rfind("\n", place // 2, place), text.rfind(" ", place // 2, place)) + 1 or place
        yield text[:place]
        text = text[place:]
    yield text


def shorten(text: str, tokens: int) -> str:
    """*text* without its midst, if it has more than about *tokens*."""
    if len(text) * _MOST_PER_CHARACTER <= tokens or (total := estimate(text)) <= tokens:
        return text
    half = max(1, int(len(text) * tokens / total / 2))
    return text[:half] + _GAP + text[-half:]


def _count(portion: Sequence[_Shown]) -> int:
    return sum(estimate(text) + _FRAME_TOKENS for _, text in portion)
