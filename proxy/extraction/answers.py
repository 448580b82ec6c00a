"""What comes back of a call: the completion's text, what it cost, and the facts in it."""

import msgspec

from proxy.errors import ExtractionError
from proxy.extraction.base import Item
from proxy.extraction.parsing import parse_items
from proxy.extraction.prompt import Prompt
from proxy.models import Usage
from proxy.tokens import estimate


class Asked(msgspec.Struct, frozen=True):
    """*items*: what the model gave, None for what is no fact. *tokens*: as the server says, else an estimate.

    *model* and *usage*: what the server says of the last call.
    """

    items: list[Item | None]
    calls: int
    tokens: int
    model: str | None = None
    usage: Usage | None = None


class Answer(msgspec.Struct, frozen=True):
    """*items* is None where no list of facts was found."""

    items: list[Item | None] | None
    tokens: int
    model: str | None = None
    usage: Usage | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    total_tokens: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Cost(msgspec.Struct):
    usage: _Usage | None = None
    model: str | None = None


_completions = msgspec.json.Decoder(_Completion)
_costs = msgspec.json.Decoder(_Cost)


def read_answer(body: bytes, prompt: Prompt) -> Answer:
    """What a completion says.

    Raises:
        ExtractionError: it is no completion, or says nothing.
    """
    try:
        choices = _completions.decode(body).choices
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ExtractionError("what the model sent is no completion") from exc
    if not choices:
        raise ExtractionError("the model's answer has no choices")
    said = choices[0].message
    if said.refusal:
        raise ExtractionError("the model refused")
    if not said.content or not said.content.strip():
        raise ExtractionError("the model's answer has no text")
    cost = _read_cost(body)
    usage = cost.usage or _Usage()
    told = None if usage.prompt_tokens is None else Usage(usage.prompt_tokens, usage.completion_tokens or 0)
    return Answer(
        parse_items(said.content),
        max(0, usage.total_tokens) or estimate(prompt.text) + estimate(said.content),
        cost.model,
        told,
    )


def _read_cost(body: bytes) -> _Cost:
    try:
        return _costs.decode(body)
    except msgspec.MsgspecError:  # the facts are there; only what they cost is not
        return _Cost()
