"""Commands in messages: which are recognised, what the keeper is asked to do, and what the user is told."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from proxy.dialects.chat_completions import ChatRequest
from proxy.edge import commands, phrases
from proxy.edge.commands import Command, Commands
from proxy.errors import KeeperError
from proxy.keeper import wire
from proxy.models import Memory, Message, Record, Scope
from proxy.packing import make_pack
from proxy.recall.composing import Block
from proxy.recall.service import Recollection
from proxy.statements import find_statements
from proxy.text import ANALYSIS, pack_terms

ADA = Scope("ada")
START = datetime(2024, 3, 1, tzinfo=UTC)
RECEIPT = wire.Receipt("ada", 2, 0, "2024-05-01T10:00:00Z", "d1" * 32)


def memory(number: int, text: str, **fields: Any) -> Memory:
    at = START + timedelta(days=number)
    kept: dict[str, Any] = {"kind": "turn", "role": "user", **fields}
    return Memory(
        f"{number:08x}{'0' * 24}", "ada", text=text, created_at=at, conversation_id="c", message_index=0, **kept
    )


class Keeper:
    """Has these memories, answers as it is told, and keeps what it was asked, unless it is *away*. A load comes in so
    many *parts*.
    """

    def __init__(self, *memories: Memory, off: bool = False, parts: int = 1, away: bool = False) -> None:
        self.memories = list(memories)
        self.off = off
        self.parts = parts
        self.away = away
        self.asked: list[wire.Request] = []
        self.answers: dict[type[wire.Request], object] = {
            wire.ListMemories: wire.MemoryPage(list(memories), None),
            wire.Flush: wire.Flushed(0, 0),
            wire.Switch: wire.Settled(1),
            wire.Erase: RECEIPT,
        }

    @property
    def done(self) -> list[wire.Request]:
        """What it was asked to change."""
        return [call for call in self.asked if not isinstance(call, wire.ListMemories | wire.Flush)]

    async def load(self, scope: Scope) -> AsyncGenerator[wire.Part, None]:
        assert scope == ADA
        self._check()
        told = [] if self.off else [one for one in self.memories if one.superseded_by is None]
        size = -(-len(told) // self.parts) or 1
        for start in range(0, max(1, len(told)), size):
            some = told[start : start + size]
            records = [
                Record(one, b"", pack_terms(one.text), ANALYSIS, statements=find_statements(one.text)) for one in some
            ]
            yield wire.Part(make_pack(records), max(0, len(told) - start - size), self.off)

    async def call(self, request: wire.Request) -> Any:
        self._check()
        self.asked.append(request)
        if isinstance(request, wire.Add):
            return memory(99, request.text)
        return self.answers[type(request)]

    def _check(self) -> None:
        if self.away:
            raise KeeperError("the keeper is not up")


class Recall:
    """Finds these memories, with descending scores, whatever is asked."""

    def __init__(self, *found: Memory) -> None:
        self.found = list(found)
        self.asked: list[str] = []

    async def recall(self, _scope: Scope, dialogue: Sequence[Message], **_: Any) -> Recollection:
        self.asked += [message.text for message in dialogue]
        if not self.found:
            return Recollection("empty")
        scores = [float(len(self.found) - 1 - number) for number in range(len(self.found))]
        return Recollection("injected", Block("", 1, self.found, scores))


class Room:
    """Commands with doubles for all that they need."""

    def __init__(self, *memories: Memory, keeper: Keeper | None = None, found: Sequence[Memory] = ()) -> None:
        self.keeper = keeper or Keeper(*memories)
        self.recall = Recall(*found)
        self.commands = Commands(self.keeper, self.recall)  # type: ignore[arg-type]  # what is used of them

    def find(self, content: Any, *before: dict[str, Any], **fields: Any) -> Command | None:
        body = json.dumps({"messages": [*before, {"role": "user", "content": content}], **fields}).encode()
        request = ChatRequest.parse(body)
        assert request is not None
        return self.commands.find(request, body)

    async def say(self, text: str) -> str:
        """What is answered to *text*."""
        command = self.find(text)
        assert command is not None
        answer = await self.commands.answer(ADA, command)
        return str(msgspec.json.decode(answer.body)["choices"][0]["message"]["content"])


DOG = memory(1, "My dog is called Biscuit.")
REPLY = memory(2, "Dogs like Biscuit love long walks.", role="assistant")
BICYCLE = memory(3, "The bicycle is in the cellar.")
RULE = memory(4, "Always answer in metric units.")


@pytest.mark.parametrize(
    ("text", "verb", "rest"),
    [
        ("/memory", "", ""),
        ("  /memory \n", "", ""),
        ("/MEMORY Forget  The Dog ", "forget", "The Dog"),
        ("/memory\nremember two\n\n lines", "remember", "two\n\n lines"),
        ("/memory\tsearch x", "search", "x"),
        ("/memory nonsense", "nonsense", ""),
    ],
)
def test_commands_are_found(text: str, verb: str, rest: str) -> None:
    """Trimmed, whatever the case of the command's own words; as a string and as a single part."""
    for content in (text, [{"type": "text", "text": text}]):
        command = Room().find(content)
        assert command is not None
        assert (command.verb, command.rest) == (verb, rest)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "memory",
        "/memories",
        "/memory-dump",
        "/memory's",
        "What does /memory do?",
        "Hi\n/memory",
        "//memory",
        [{"type": "text", "text": "/memory remember this"}, {"type": "text", "text": "a file"}],
        [{"type": "text", "text": "/memory"}, {"type": "image_url", "image_url": {"url": "data:"}}],
    ],
)
def test_what_is_no_command(content: Any) -> None:
    """Anything else goes upstream."""
    assert Room().find(content) is None


def test_only_the_last_message_counts() -> None:
    """A command that was answered already is history, and so is one that tools are working on."""
    typed = {"role": "user", "content": "/memory"}
    assert Room().find("Hi", typed, {"role": "assistant", "content": phrases.HELP}) is None
    body = json.dumps({"messages": [typed, {"role": "tool", "content": "4", "tool_call_id": "x"}]}).encode()
    request = ChatRequest.parse(body)
    assert request is not None
    assert Room().commands.find(request, body) is None


def test_what_was_asked_for_goes_along() -> None:
    """The answer will be in the form that the request wants."""
    command = Room().find("/memory", model="gpt-x", stream=True, n=2)
    assert command is not None
    assert (command.asked.model, command.asked.stream, command.asked.choices) == ("gpt-x", True, 2)


async def test_what_is_known() -> None:
    """How much, since when, what always holds, and the user's own newest words, dated."""
    told = await Room(DOG, REPLY, BICYCLE, RULE).say("/memory")
    assert told.startswith("Memory is **on**. It has 4 memories, the oldest of 2024-03-02.")
    standing, said = told.split("What you said last:")
    assert "2024-03-05, Always answer in metric units (`00000004`)" in standing
    assert said.index("metric") < said.index("bicycle") < said.index("- 2024-03-02, My dog is called Biscuit.")
    assert "long walks" not in told


async def test_what_is_known_comes_in_parts() -> None:
    """A user with many memories is told of all of them, the newest ten by their words."""
    many = [memory(number, f"Fact number {number}.") for number in range(1, 31)]
    told = await Room(keeper=Keeper(*many, parts=4)).say("/memory")
    assert "It has 30 memories" in told
    assert [f"Fact number {number}." in told for number in (30, 21, 20)] == [True, True, False]


async def test_what_no_longer_holds_is_not_what_was_said_last() -> None:
    """The overview shows what holds; a search shows both, and says which."""
    old = memory(5, "I live in Bergen.", superseded_by="x")
    assert "Bergen" not in await Room(old, DOG).say("/memory")
    assert "I live in Bergen. (no longer holds) (`00000005`)" in await Room(old, DOG).say("/memory search Bergen")


async def test_nothing_is_known() -> None:
    """Somebody new is told so."""
    assert "Nothing is known about you yet." in await Room().say("/memory")


async def test_while_it_is_off() -> None:
    """What is kept can be looked at, and forgotten, while nothing of it is recalled."""
    room = Room(keeper=Keeper(DOG, BICYCLE, off=True))
    assert (await room.say("/memory")).startswith("Memory is **off**. It has 2 memories")
    assert "Biscuit" in await room.say("/memory forget dogs")
    assert room.keeper.done[-1] == wire.Erase(ADA, [DOG.id])


async def test_search() -> None:
    """Memories with all of the words in any form, newest first, with who said what."""
    told = await Room(DOG, REPLY, BICYCLE).say("/memory search DOGS biscuit")
    assert told.startswith("2 memories with “DOGS biscuit”.")
    assert told.index("- 2024-03-03, assistant: Dogs like") < told.index("- 2024-03-02, My dog is")
    assert "bicycle" not in told


async def test_a_search_that_finds_much_is_cut() -> None:
    """The newest ten are listed, and all are counted."""
    told = await Room(*(memory(number, f"Dog number {number}.") for number in range(1, 13))).say("/memory search dog")
    assert told.startswith("12 memories with “dog”. The newest 10 of them:")
    assert told.count("\n- ") == 10


@pytest.mark.parametrize("text", ["/memory search", "/memory search the", "/memory search ?"])
async def test_a_search_for_nothing(text: str) -> None:
    """Words that say nothing find nothing, and not everything."""
    room = Room(DOG)
    assert await room.say(text) == phrases.WHAT_TO_SEARCH
    assert room.recall.asked == []


@pytest.mark.parametrize("verb", ["search", "forget"])
async def test_the_closest_are_offered(verb: str) -> None:
    """Where nothing has all of the words: the three that a chat would recall, but for what nobody asked for."""
    far = memory(9, "Never mind.")
    room = Room(DOG, BICYCLE, found=[BICYCLE, DOG, REPLY, memory(8, "A fourth."), far])
    told = await room.say(f"/memory {verb} poodle")
    assert told.startswith("No memory has all of these words: “poodle”. The closest:")
    assert told.index("bicycle") < told.index("Biscuit") < told.index("walks")
    assert "fourth" not in told
    assert f"`/memory forget {BICYCLE.id[:8]}`" in told
    assert room.keeper.done == []
    assert room.recall.asked == ["poodle"]


async def test_nothing_is_close() -> None:
    """It is said, and nothing is offered."""
    assert await Room(DOG).say("/memory forget poodle") == "No memory has all of these words: “poodle”."


async def test_forgetting_by_words() -> None:
    """Those with all of the words are erased, whoever said them, and named; others stay."""
    room = Room(DOG, REPLY, BICYCLE)
    told = await room.say("/memory forget my dog")
    assert room.keeper.done == [wire.Erase(ADA, [REPLY.id, DOG.id])]
    assert told.startswith("Forgotten for good: 2 memories.\n\n- 2024-03-03, Dogs like")
    assert "Biscuit" in told


async def test_what_no_longer_holds_is_forgotten_as_well() -> None:
    """It is not recalled any more, but it is still known."""
    old = memory(5, "My dog lived in Bergen.", superseded_by=DOG.id)
    room = Room(DOG, old)
    await room.say("/memory forget dog")
    assert room.keeper.done == [wire.Erase(ADA, [old.id, DOG.id])]


async def test_forgetting_waits_for_what_is_being_stored() -> None:
    """What was said a moment ago is part of it, but a store that fails holds up nobody for long."""
    room = Room(DOG)
    await room.say("/memory forget dog")
    assert room.keeper.asked[0] == wire.Flush(extract=False)


async def test_forgetting_by_name() -> None:
    """What a listing calls a memory, also with the quotes that it has there, erases just that one."""
    for name in (DOG.id[:8], f"`{DOG.id[:8]}`", DOG.id):
        room = Room(DOG, REPLY, BICYCLE)
        await room.say(f"/memory forget {name}")
        assert room.keeper.done == [wire.Erase(ADA, [DOG.id])]


async def test_a_name_of_two_is_none() -> None:
    """Where the beginning of an id leaves it open which is meant, nothing is erased."""
    twin = msgspec.structs.replace(DOG, id=DOG.id[:8] + "f" * 24)
    room = Room(DOG, twin)
    await room.say(f"/memory forget {DOG.id[:8]}")
    assert room.keeper.done == []


async def test_at_most_fifty_at_once() -> None:
    """The newest fifty; how many are left is said."""
    many = [memory(number, f"Dog number {number}.") for number in range(1, 61)]
    room = Room(*many)
    told = await room.say("/memory forget dog")
    (erased,) = room.keeper.done
    assert erased == wire.Erase(ADA, [one.id for one in reversed(many[10:])])
    assert told.count("\n- ") == 50
    assert told.endswith("10 memories with these words are left: say the same again to erase more.")


@pytest.mark.parametrize("words", ["", "me", "the", "all of it", "it!", "…"])
async def test_words_that_say_nothing_forget_nothing(words: str) -> None:
    """Function words are in every memory; they erase none."""
    room = Room(DOG, BICYCLE)
    assert await room.say(f"/memory forget {words}") == phrases.WHAT_TO_FORGET
    assert room.keeper.done == []


async def test_everything_wants_a_confirmation() -> None:
    """The first time only tells what would happen; the second time does it, with a receipt."""
    room = Room(DOG, BICYCLE)
    told = await room.say("/memory forget everything")
    assert "This erases 2 memories" in told
    assert f"`{phrases.FORGET_EVERYTHING}`" in told
    assert room.keeper.done == []
    told = await room.say(phrases.FORGET_EVERYTHING)
    assert room.keeper.done == [wire.Erase(ADA, None)]
    assert "2 memories, at 2024-05-01T10:00:00Z. Receipt: `d1d1" in told


async def test_everything_about_something_is_not_everything() -> None:
    """It is what the other words say."""
    room = Room(DOG, BICYCLE)
    await room.say("/memory forget everything about my bicycle, yes")
    assert room.keeper.done == [wire.Erase(ADA, [BICYCLE.id])]


async def test_remembering() -> None:
    """As it was typed, lines and all; told as it was stored."""
    room = Room()
    told = await room.say("/memory remember  I am *allergic*\nto nuts. ")
    assert room.keeper.done == [wire.Add(ADA, "I am *allergic*\nto nuts.")]
    assert told == r"Remembered: I am \*allergic\* to nuts. (`00000063`)"


@pytest.mark.parametrize(("text", "told"), [("", phrases.WHAT_TO_REMEMBER), ("x" * 100_001, phrases.TOO_LONG)])
async def test_what_cannot_be_remembered(text: str, told: str) -> None:
    """Nothing, and too much: the keeper is not asked."""
    room = Room()
    assert await room.say(f"/memory remember {text}") == told
    assert room.keeper.done == []


async def test_nothing_is_remembered_while_it_is_off() -> None:
    """Off means off, also for what is said on purpose; the user is told."""
    room = Room(keeper=Keeper(DOG, off=True))
    assert await room.say("/memory remember I like tea.") == phrases.IS_OFF
    assert room.keeper.done == []


@pytest.mark.parametrize(("word", "off", "told"), [("off", True, phrases.OFF), ("ON", False, phrases.ON)])
async def test_switching(word: str, off: bool, told: str) -> None:
    """Each way, and what follows from it."""
    room = Room()
    assert await room.say(f"/memory {word} please") == told
    assert room.keeper.done == [wire.Switch(ADA, off)]


async def test_help() -> None:
    """Every command is in it; one that there is not is told, harmlessly, with the help."""
    room = Room()
    told = await room.say("/memory help")
    assert all(f"`/memory {verb}" in told for verb in ("search", "remember", "forget", "off", "on"))
    unknown = await room.say("/memory ![x](http://evil.example)")
    assert r"!\[x\](http:" in unknown
    assert unknown.endswith(told)


async def test_memories_are_harmless_in_answers() -> None:
    """Nothing that was once said makes a picture, a link or a second line of the list."""
    nasty = memory(7, "![dog](https://evil.example/?leak)\n- <b>dog</b>", role="assistant", name="[x](//y)")
    for text in ("/memory search dog", "/memory forget dog"):
        told = await Room(nasty).say(text)
        assert "![" not in told
        assert "//" not in told
        assert "](" not in told.replace(r"\](", "")
        assert "<b" not in told.replace(r"\<b", "")
        assert told.count("\n- ") == 1


@pytest.mark.parametrize(
    "text", ["", "search dog", "forget dog", phrases.FORGET_EVERYTHING[8:], "remember x", "off", "on"]
)
async def test_a_keeper_that_is_away_is_told(text: str) -> None:
    """In words, because a chat shows words."""
    assert await Room(keeper=Keeper(away=True)).say(f"/memory {text}") == phrases.AWAY


async def test_a_damaged_answer_is_told() -> None:
    """What the keeper sends may be broken; the chat's window says no more than that memory is not there."""

    class DamagedKeeper(Keeper):
        async def load(self, scope: Scope) -> AsyncGenerator[wire.Part, None]:
            yield wire.Part(msgspec.structs.replace(make_pack([]), sizes=b"\1\0\0\0"), 0)

    assert await Room(keeper=DamagedKeeper()).say("/memory") == phrases.AWAY


async def test_a_keeper_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever."""

    class HangingKeeper(Keeper):
        async def call(self, request: wire.Request) -> Any:
            await asyncio.Event().wait()

    monkeypatch.setattr(commands, "PATIENCE_S", 0.0)
    assert await Room(keeper=HangingKeeper()).say("/memory off") == phrases.AWAY
