"""Conversations held again: which, how, and what it says of the prompt cache and of sudden questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from proxy.evaluation.chat import Sent, list_turns
from proxy.evaluation.dataset import Conversation, read_data_set
from proxy.evaluation.digression import choose_conversation
from proxy.evaluation.replay import CACHES, Bill, choose_latest, make_bill, share_cached
from proxy.evaluation.report import Report
from proxy.evaluation.stages import Plan, evaluate
from tests.datasets import make_chat, make_conversation, make_question, write_set

LONG = "and so it went on and on, as it does when somebody tells of their holidays, " * 12
REX = make_question("What is my dog Rex afraid of?", ("ann-0", 0))


def read_conversations(folder: Path, *conversations: dict[str, Any]) -> list[Conversation]:
    first = conversations[0]["conversation_id"]
    write_set(folder, list(conversations), [make_question("What?", (first, 0))])
    return read_data_set(folder).conversations["ann"]


def run(folder: Path, conversations: list[dict[str, Any]], *questions: dict[str, Any]) -> Report:
    return evaluate(write_set(folder, conversations, list(questions)), Plan(sizes=(10,)))


def hold(*topics: str, number: int = 5, messages: int = 12) -> dict[str, Any]:
    """A long conversation with long messages, about each of *topics* in turn."""
    return make_chat(number, *(f"{topics[n // 2 % len(topics)]} {n}: {LONG}" for n in range(messages)))


def test_a_request_is_what_waits_for_an_answer(tmp_path: Path) -> None:
    """Messages of the user that follow each other are one request, and with its answer they are remembered."""
    roles = ("user", "assistant", "user", "user", "assistant", "user")
    texts = ("Hi", "Hello", "I have", "a question", "Ask", "Why?")
    [conversation] = read_conversations(tmp_path, make_conversation(0, *texts, roles=roles))
    turns = list(list_turns(conversation))
    assert [[message.text for message in turn.dialogue] for turn in turns] == [
        ["Hi"],
        ["Hi", "Hello", "I have", "a question"],
        list(texts),
    ]
    assert [list(turn.rows) for turn in turns] == [[0, 1], [2, 3, 4], [5]]


def test_an_answer_without_a_question_is_no_request(tmp_path: Path) -> None:
    """A conversation that the assistant begins has its first request with the user's first message."""
    [conversation] = read_conversations(tmp_path, make_conversation(0, "Welcome", "Hi", roles=("assistant", "user")))
    [turn] = list_turns(conversation)
    assert list(turn.rows) == [1]


def test_the_latest_long_conversations_are_replayed(tmp_path: Path) -> None:
    """Two at most, none of fewer than ten messages, by date and not by place in the file."""
    long = [f"message {n}" for n in range(10)]
    days = {0: 9, 1: 3, 2: 7}
    chats = [make_chat(number, *long, day=day) for number, day in days.items()]
    conversations = read_conversations(tmp_path, *chats, make_chat(3, *long[1:], day=20))
    assert [conversation.id for conversation in choose_latest(conversations)] == ["ann-0", "ann-2"]


def test_a_sudden_question_comes_where_nothing_answers_it(tmp_path: Path) -> None:
    """In the latest conversation of five requests or more that is not among the evidence; else nowhere."""
    long, short = [f"message {n}" for n in range(10)], ["message"] * 8
    chats = [make_chat(0, *long), make_chat(1, *long), make_chat(2, *long), make_chat(3, *short)]
    write_set(tmp_path, chats, [make_question("What?", ("ann-2", 0))])
    data_set = read_data_set(tmp_path)
    [question] = data_set.questions
    conversations = data_set.conversations["ann"]
    chosen = choose_conversation(conversations, question)
    assert chosen is not None
    assert chosen.id == "ann-1"
    assert choose_conversation(conversations[2:], question) is None


def make_requests(blocks: Sequence[str]) -> list[Sent]:
    """A conversation that grows by two long messages a request, with each of *blocks* in its system message."""
    plain = [["system\n", *(f"message {n}: {LONG}" for n in range(2 * count + 1))] for count in range(len(blocks))]
    return [Sent(texts, [texts[0] + block, *texts[1:]], []) for texts, block in zip(plain, blocks, strict=True)]


@pytest.mark.parametrize("cache", CACHES)
def test_a_block_that_stands_keeps_the_cache(cache: str) -> None:
    """The same block in all requests costs nothing; one that is always new leaves nothing cached."""
    standing, changing, nothing = (["block " * 50] * 6, [f"{n} block " * 50 for n in range(6)], [""] * 6)
    shares = [share_cached([make_bill(CACHES[cache], make_requests(b))]) for b in (standing, changing, nothing)]
    kept = [share.kept.mean for share in shares if share.kept is not None]
    assert kept[0] > 0.95
    assert kept[1:] == [0, 1]
    assert {share.without for share in shares} == {shares[2].with_memory}
    assert shares[1].with_memory == 0


def test_shares_are_of_all_tokens_together() -> None:
    """As on a bill, a long conversation counts more; the interval tells how unlike conversations are."""
    share = share_cached([Bill(cached=100, prompt=1000, plain_cached=800, plain=1000), Bill(900, 9000, 900, 9000)])
    assert (share.with_memory, share.without) == (0.1, 0.17)
    assert share.kept is not None
    assert share.kept.mean == pytest.approx(0.1 / 0.17)
    assert share.kept.low == pytest.approx(0.125)
    assert share.kept.high == pytest.approx(1)


def test_short_conversations_tell_nothing_of_a_cache() -> None:
    """Where nothing would be cached anyway there is no ratio."""
    assert share_cached([Bill(0, 500, 0, 400), Bill(0, 300, 0, 200)]).kept is None


def test_memory_makes_requests_longer(tmp_path: Path) -> None:
    """A user with something to remember pays tokens for it; one without has the same requests with memory."""
    told = [make_chat(n, f"My dog Rex is afraid of thunder, and of bridge number {n}", "Poor Rex") for n in range(4)]
    replays = run(tmp_path, [*told, hold("Where shall I go with Rex, my dog")], REX).replays
    assert replays is not None
    assert (replays["system"].conversations, replays["system"].requests) == (1, 6)
    assert 20 < replays["system"].added_tokens <= 1000
    strange = make_question("What is it?", ("ann-5", 0))
    alone = run(tmp_path, [hold("Holidays")], strange).replays
    assert alone is not None
    assert (alone["system"].added_tokens, alone["system"].changed) == (0, 0)
    assert alone["system"].caches["prefix"].kept == (1, 1, 1)


def test_what_was_said_later_is_not_remembered_in_a_replay(tmp_path: Path) -> None:
    """Memories of conversations that began after the replayed one would be glimpses of the future."""
    later = make_chat(9, "My dog Rex is afraid of thunder", "Poor Rex", day=20)
    conversations = [hold("Where shall I go with Rex, my dog"), later]
    replays = run(tmp_path, conversations, make_question("What is Rex afraid of?", ("ann-9", 0))).replays
    assert replays is not None
    assert replays["system"].added_tokens == 0


def test_a_sudden_question_is_answered_out_of_everything(tmp_path: Path) -> None:
    """It finds what was said before and after; what nobody can find is missed by a fresh block as well."""
    later = make_chat(9, "My dog Rex is afraid of thunder", "Poor Rex", day=20)
    hidden = make_question("Have I got a yacht?", ("ann-8", 0))
    asked = make_question("What is my dog Rex afraid of?", ("ann-9", 0))
    conversations = [hold("Holidays", messages=10), make_chat(8, "The zoo was shut"), later]
    digressions = run(tmp_path, conversations, asked, hidden).digressions
    assert digressions is not None
    found = digressions["system"]
    assert (found.questions, found.fresh.mean, found.sudden.mean) == (2, 0.5, 0.5)


def test_without_long_conversations_there_is_no_replay(tmp_path: Path) -> None:
    """Neither of the two parts pretends to have measured anything."""
    report = run(tmp_path, [make_chat(0, "My dog Rex is afraid of thunder", "Poor Rex")], REX)
    assert (report.replays, report.digressions) == (None, None)
