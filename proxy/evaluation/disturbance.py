"""What comes between the turns of a conversation, one kind of noise a function, and in which order."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

from proxy.evaluation import noise
from proxy.evaluation.client import SYSTEM, Sitting, Turn, constantly
from proxy.evaluation.live import make_call
from proxy.evaluation.noise import Dice

# Holds the turn, with a disturbance before, within or after it.
Disturb = Callable[[Sitting, Turn], Awaitable[None]]

_TOOLS: Final = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
_ASKED: Final = "Here is what you noted about me:"
_IS_IT_RIGHT: Final = "Is that still right?"
_NOTHING: Final = "I know nothing about you yet."
_KEPT: Final = "I have made a note of that for {name}, and I will not repeat it to anybody in {place}."


async def greet(sitting: Sitting, turn: Turn) -> None:
    """Small talk before the turn."""
    await _make_small_talk(sitting, noise.GREETINGS, noise.WELCOMES)
    await sitting.hold(turn)


async def thank(sitting: Sitting, turn: Turn) -> None:
    """Small talk after the turn."""
    await sitting.hold(turn)
    await _make_small_talk(sitting, noise.THANKS, noise.PLEASURES)


async def greet_apart(sitting: Sitting, turn: Turn) -> None:
    """A conversation of nothing but small talk, and thanks for it."""
    await sitting.hold(turn)
    apart = sitting.begin_another()
    await _make_small_talk(apart, noise.GREETINGS, noise.WELCOMES)
    await _make_small_talk(apart, noise.THANKS, noise.PLEASURES)


async def run_job(sitting: Sitting, turn: Turn) -> None:
    """A job of the user interface about the conversation so far."""
    await sitting.hold(turn)
    job = sitting.client.dice.random.choice(noise.JOBS)
    quoted = "\n".join(f"{m['role'].upper()}: {m['content']}" for m in sitting.history[-4:] if m["content"])
    prompt = job.prompt.format(history=quoted)
    answer = sitting.client.dice.pick([job.answer])
    _note_exchange(sitting, "job", prompt, answer)
    message = {"role": "user", "content": prompt}
    instructions = "" if job.alone else SYSTEM
    await sitting.send("job", [message], constantly(answer), instructions=instructions, alone=job.alone)


async def probe(sitting: Sitting, turn: Turn) -> None:
    """A health check that a script makes."""
    await sitting.hold(turn)
    text, most = sitting.client.dice.random.choice(noise.PROBES)
    _note_exchange(sitting, "probe", text, "pong")
    message = {"role": "user", "content": text}
    apart = sitting.begin_another(named=False)
    await apart.send("probe", [message], constantly("pong"), instructions="", more={"max_tokens": most})


async def retry(sitting: Sitting, turn: Turn) -> None:
    """The request twice, with the same answer: the client has lost the first one."""
    await sitting.send("retry", _say(turn), constantly(turn.answer))
    await sitting.hold(turn)


async def regenerate(sitting: Sitting, turn: Turn) -> None:
    """The request twice, and only the second answer is kept."""
    answer = f"{sitting.client.dice.pick(noise.FIRST_ANSWERS)} ({sitting.client.dice.random.randrange(10**6)})."
    sitting.client.diary.note("assistant", answer, "abandoned", "first answer")
    await sitting.send("first answer", _say(turn), constantly(answer))
    await _maybe_wait(sitting)
    await sitting.hold(turn)


async def edit(sitting: Sitting, turn: Turn) -> None:
    """Something else is said first and answered, then replaced by what the turn says."""
    fill = sitting.client.dice.filler()
    if sitting.history:
        draft = fill(sitting.client.dice.random.choice(noise.DRAFTS))
    else:  # that another first message is an edit of the first one can only be told by what the two have in common
        draft = f"{turn.texts[0]} {fill(noise.SECOND_THOUGHT)}"
    answer = fill(sitting.client.dice.random.choice(noise.DRAFT_ANSWERS))
    # Where there is neither an id nor a history, an edit looks like another conversation: counted by itself.
    label = "draft of a nameless opening" if sitting.is_nameless else "draft"
    sitting.client.diary.note("user", draft, "abandoned", label)
    sitting.client.diary.note("assistant", answer, "abandoned", label)
    await sitting.send("draft", [{"role": "user", "content": draft}], constantly(answer))
    await _maybe_wait(sitting)
    await sitting.hold(turn)


async def use_tool(sitting: Sitting, turn: Turn) -> None:
    """The answer comes after a step through a tool, which clients keep in the history."""
    fill = sitting.client.dice.filler()
    arguments, result = fill('{{"query": "{name} {place}"}}'), fill("{name} was last seen in {place}: 12 results.")
    for role in ("user", "assistant"):
        _note(sitting, role, arguments, "tool")
        _note(sitting, role, result, "tool")
    await sitting.send("tool call", _say(turn), constantly(arguments), is_call=True, more={"tools": _TOOLS})
    step = [make_call(arguments), {"role": "tool", "tool_call_id": "call_1", "content": result}]
    await sitting.hold(turn, before=step)


async def tell_secret(sitting: Sitting, turn: Turn) -> None:
    """The user says something with a key in it."""
    await sitting.hold(turn)
    dice, secret = sitting.client.dice, sitting.client.dice.secret()
    fill, (before, after) = dice.filler(), dice.random.choice(noise.SECRETS)
    sitting.client.diary.secrets.append(secret)
    text = f"{fill(before)}{secret}{fill(after)}"
    answer = f"{fill(_KEPT)} ({dice.random.randrange(10**6)})"
    sitting.client.diary.note("assistant", answer, "extra", "secret")
    await sitting.chat(text, constantly(answer), "extra", "secret")


async def recap(sitting: Sitting, turn: Turn) -> None:
    """The user asks what is known, and the answer repeats the block."""
    await sitting.hold(turn)
    await _maybe_wait(sitting)
    answer = await sitting.chat(sitting.client.dice.pick(noise.RECAPS), _repeat, "extra", "recap")
    sitting.client.diary.note("assistant", answer, "extra" if answer == _NOTHING else "foreign", "echo")


async def paste(sitting: Sitting, turn: Turn) -> None:
    """The user pastes the block with its frame, between words of the user's own."""
    await sitting.hold(turn)
    if block := _find_block(sitting.heard):
        text = f"{_ASKED}\n{block}\n{_IS_IT_RIGHT}"
        answer = f"Most of it, I should say, but for item {sitting.client.dice.random.randrange(10**6)} of the list."
        for own in (f"{_ASKED} {_IS_IT_RIGHT}", _ASKED, _IS_IT_RIGHT):
            sitting.client.diary.note("user", own, "extra", "paste")
        sitting.client.diary.note("assistant", answer, "extra", "paste")
        await sitting.chat(text, constantly(answer), "foreign", "paste")


async def resend(sitting: Sitting, turn: Turn) -> None:
    """The client sends instructions that have an earlier block in them, as one behind another proxy does."""
    block = _find_block(sitting.heard)
    await sitting.hold(turn, instructions=f"{SYSTEM}\n\n{block}" if block else SYSTEM)


DISTURBANCES: Final[Mapping[str, Disturb]] = {
    "greeting": greet,
    "thanks": thank,
    "greeting apart": greet_apart,
    "job": run_job,
    "another job": run_job,  # the commonest of all
    "probe": probe,
    "retry": retry,
    "regeneration": regenerate,
    "edit": edit,
    "tool": use_tool,
    "secret": tell_secret,
    "recap": recap,
    "paste": paste,
    "resend": resend,
}


def deal(dice: Dice) -> Iterator[str]:
    """Names of disturbances without an end, each as often as any other."""
    while True:
        yield from dice.random.sample(list(DISTURBANCES), len(DISTURBANCES))


async def _make_small_talk(sitting: Sitting, texts: tuple[str, ...], answers: tuple[str, ...]) -> None:
    answer = sitting.client.dice.pick(answers)
    sitting.client.diary.note("assistant", answer, "chatter", "small talk")
    await sitting.chat(sitting.client.dice.pick(texts), constantly(answer), "chatter", "small talk")


async def _maybe_wait(sitting: Sitting) -> None:
    """Until all is stored, or not: memory has to cope with either."""
    if sitting.client.dice.random.random() < 0.5:
        await sitting.client.live.flush()


def _note_exchange(sitting: Sitting, label: str, text: str, answer: str) -> None:
    _note(sitting, "user", text, label)
    _note(sitting, "assistant", answer, label)


def _note(sitting: Sitting, role: str, text: str, label: str) -> None:
    sitting.client.diary.note(role, text, "foreign", label)


def _say(turn: Turn) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in turn.texts]


def _repeat(instructions: str) -> str:
    """An answer that is nothing but what the block says."""
    lines = [line for line in instructions.splitlines() if line.startswith("- ")]
    return "\n".join(["This is what I know:", *lines]) if lines else _NOTHING


def _find_block(instructions: str) -> str:
    return instructions.removeprefix(SYSTEM).strip() if "\n- " in instructions else ""
