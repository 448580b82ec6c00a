"""Which conversation a request belongs to, and what it adds to it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from proxy import chain
from proxy.dialects.answer import Reply
from proxy.errors import ApiError
from proxy.models import Exchange, Message, Scope, now

MAX_ID_CHARACTERS: Final = 256
# Of what precedes the new messages: enough to find the place of a window that slides over a long conversation.
PRIOR: Final = 16
# A reply of which so much stood in the block already tells nothing that memory does not know.
_ECHO: Final = 0.6
_SENTENCES: Final = re.compile(r"[^.!?。！？\n]+")
# Shorter sentences say nothing by themselves, and stand in any block.
_SHORTEST: Final = 12


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request's place in its conversation. *dialogue*: every text of user and assistant that the client sent.

    *first_new*: where in it the messages begin that no earlier request has brought to its end. *sent_id*: what the
    client calls the conversation, where it says so. *step*: it hands a tool's result back. *came*: when it did.
    *traceparent*: its span.
    """

    scope: Scope
    dialogue: Sequence[Message]
    first_new: int
    sent_id: str | None = None
    step: bool = False
    came: datetime = field(default_factory=now)
    traceparent: str = ""

    def exchange(self, reply: Reply, *, block: str = "", keep_block: bool = False) -> Exchange:
        """What the request adds to the conversation, now that it is answered. *block*: what it was given of memory,
        which the exchange takes along with *keep_block*.
        """
        answers = [] if reply.is_step else [Message("assistant", reply.text)]
        messages = [*self.dialogue[self.first_new :], *answers]
        digests = [chain.digest(self.scope, message) for message in self.dialogue[: self.first_new]]
        return Exchange(
            user_id=self.scope.user_id,
            tenant=self.scope.tenant,
            conversation_id=self.sent_id or chain.recognise(self.scope, [*self.dialogue, *answers]),
            first_index=self.first_new,
            messages=messages,
            at=self.came,
            truncated=reply.truncated,
            chain=chain.extend(chain.start(self.scope, self.sent_id), digests),
            prior=b"".join(digests[-PRIOR:]),
            links=b"".join(chain.digest(self.scope, message) for message in messages),
            named=self.sent_id is not None,
            step=self.step,
            echo=bool(block) and _echoes(reply.text, block),
            block=block if keep_block else "",
            traceparent=self.traceparent,
        )


def _echoes(reply: str, block: str) -> bool:
    """Whether most of *reply* stands in *block*: stored, it would bring itself up again and again."""
    said = [part.strip() for part in _SENTENCES.findall(reply.casefold())]
    said = [part for part in said if len(part) >= _SHORTEST]
    known = " ".join(block.casefold().split())
    repeated = sum(len(part) for part in said if " ".join(part.split()) in known)
    return bool(said) and repeated >= _ECHO * sum(len(part) for part in said)


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
