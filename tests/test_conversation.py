"""Which conversation a request belongs to."""

import pytest

from proxy.dialects.answer import TEXT_LIMIT, Reply
from proxy.edge.conversation import Conversation, check_conversation_id
from proxy.errors import ApiError
from proxy.models import Message, Scope

ADA = Scope("ada")


def say(*texts: str, greeting: str | None = None) -> list[Message]:
    """User and assistant by turns, after the assistant's greeting if there is one."""
    said = [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]
    return said if greeting is None else [Message("assistant", greeting), *said]


def identify(dialogue: list[Message], answer: str, *, scope: Scope = ADA) -> str:
    conversation = Conversation(scope, dialogue, len(dialogue) - 1)
    return conversation.exchange(Reply(answer, "stop", truncated=False)).conversation_id


@pytest.mark.parametrize("greeting", [None, "Hello, I am your assistant."])
def test_every_request_of_a_conversation_has_its_id(greeting: str | None) -> None:
    """Known by its first question and the answer to it, whatever follows and however clients trim what they resend."""
    first = identify(say("Hi", greeting=greeting), "Hello! ")
    assert identify(say("Hi", "Hello!", "Who?", greeting=greeting), "Me.") == first
    assert identify(say(" Hi\n", "Hello!", "Who?", "Me.", "Why?", greeting=greeting), "So.") == first


def test_other_conversations_have_other_ids() -> None:
    """Another question, another answer, another user, or an image of the same words in other places."""
    ids = [
        identify(say("Hi"), "Hello!"),
        identify(say("Hi"), "Good day!"),
        identify(say("Hey"), "Hello!"),
        identify(say("Hi"), "Hello!", scope=Scope("bob")),
        identify(say("Hi"), "Hello!", scope=Scope("ada", "tenant")),
        identify(say("Hi", greeting="A"), "Hello!"),
        identify([Message("user", "Hi"), Message("user", "Hello!")], "Hi"),
        identify(say("Hey", greeting="Hello!"), "A"),
        identify(say("Hi", greeting="Hello!"), "A"),
    ]
    assert len(set(ids)) == len(ids)


def test_what_an_exchange_holds() -> None:
    """The new messages and the answer, from the position of the first of them."""
    conversation = Conversation(ADA, say("Hi", "Hello!", "Who?"), 2, "named")
    exchange = conversation.exchange(Reply("Me.", "stop", truncated=False))
    assert (exchange.user_id, exchange.conversation_id, exchange.first_index) == ("ada", "named", 2)
    assert exchange.messages == [Message("user", "Who?"), Message("assistant", "Me.")]
    assert exchange.at.utcoffset() is not None
    assert exchange.truncated is False


def test_a_cut_reply_is_marked_and_keeps_its_conversation() -> None:
    """Later requests bring the whole of it along, of which as much counts as was kept."""
    whole = "x" * (TEXT_LIMIT + 5)
    exchange = Conversation(ADA, say("Hi"), 0).exchange(Reply(whole[:TEXT_LIMIT], "stop", truncated=True))
    assert exchange.truncated is True
    assert identify(say("Hi", whole, "Who?"), "Me.") == exchange.conversation_id


@pytest.mark.parametrize(("sent", "found"), [(None, None), (b"", None), (b"c", "c"), ("é 七".encode(), "é 七")])
def test_conversation_ids(sent: bytes | None, found: str | None) -> None:
    """None and an empty one say nothing."""
    assert check_conversation_id(sent) == found


@pytest.mark.parametrize("sent", [b"\xff", b"c" * 257, b"a\tb", "\u2029".encode()])
def test_bad_conversation_ids(sent: bytes) -> None:
    """400."""
    with pytest.raises(ApiError) as caught:
        check_conversation_id(sent)
    assert (caught.value.status, caught.value.code) == (400, "memory_proxy_bad_conversation_id")
