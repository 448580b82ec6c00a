"""Which conversation a request belongs to, and what it adds to it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.dialects.answer import TEXT_LIMIT, Reply
from proxy.errors import ApiError
from proxy.models import Exchange, Message, Scope, now

MAX_ID_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request's place in its conversation. *dialogue*: every text of user and assistant that the client sent.

    *first_new*: where in it the messages begin that no earlier request has brought to its end. *sent_id*: what the
    client calls the conversation, where it says so.
    """

    scope: Scope
    dialogue: Sequence[Message]
    first_new: int
    sent_id: str | None = None

    def exchange(self, reply: Reply) -> Exchange:
        """What the request adds to the conversation, now that it is answered."""
        answer = Message("assistant", reply.text)
        return Exchange(
            user_id=self.scope.user_id,
            tenant=self.scope.tenant,
            conversation_id=self.sent_id or self._recognise(answer),
            first_index=self.first_new,
            messages=[*self.dialogue[self.first_new :], answer],
            at=now(),
            truncated=reply.truncated,
        )

    def _recognise(self, answer: Message) -> str:
        """The same id for every request of a conversation, without keeping anything: its first question and answer.

        The first request has the question and now gets the answer; every later one brings both along. A greeting of
        the assistant's before the first question answers nothing. Clients trim what they resend, so white space at
        the ends does not count, nor does what a reply is cut to.
        """
        texts = [*self.dialogue, answer]
        roles = [message.role for message in texts]
        opening = texts[: roles.index("assistant", roles.index("user")) + 1]
        raw = "\x00".join([self.scope.key, *(message.text[:TEXT_LIMIT].strip() for message in opening)])
        return hashlib.blake2b(raw.encode("utf-8", "surrogatepass"), digest_size=12, person=b"mp-talk").hexdigest()


def check_conversation_id(sent: bytes | None) -> str | None:
    """The value of ``X-Conversation-Id``, or None where there is none.

    Raises:
        ApiError: 400 for one that is too long or no UTF-8.
    """
    if not sent:
        return None
    try:
        text = sent.strip(b" \t").decode()
    except UnicodeDecodeError:
        raise ApiError(400, "bad_conversation_id", "X-Conversation-Id is not valid UTF-8.") from None
    if len(text) > MAX_ID_CHARACTERS or not text.isprintable():
        raise ApiError(
            400, "bad_conversation_id", f"X-Conversation-Id should have 1 to {MAX_ID_CHARACTERS} printable characters."
        )
    return text
