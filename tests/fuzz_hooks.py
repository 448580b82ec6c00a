"""What Schemathesis cannot know of the control plane: loaded by its own process, through SCHEMATHESIS_HOOKS."""

import base64
import json
from typing import Final

import schemathesis
from hypothesis import strategies as st

TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NUMBER: Final = st.integers(-(2**70), 2**70)
DATE: Final = st.sampled_from(
    [
        "2024-01-01T00:00:00Z",
        "2024-05-01T00:00:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "never",
    ]
)
MEMORY: Final = st.fixed_dictionaries(
    {
        "id": TEXT,
        "user_id": TEXT,
        "kind": st.sampled_from(["turn", "fact", "x"]),
        "role": TEXT,
        "text": TEXT,
        "created_at": DATE,
        "conversation_id": TEXT,
        "message_index": NUMBER,
    },
    optional={
        "name": TEXT,
        "superseded_by": TEXT,
        "valid_until": DATE,
        "sources": st.lists(st.tuples(TEXT, NUMBER), max_size=3),
        "quote": TEXT,
        "origin": st.sampled_from(["said", "extracted", "hand", "x"]),
        "seen": NUMBER,
    },
)
SAID: Final = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "x"]), "content": TEXT},
    optional={"name": TEXT, "created_at": DATE},
)
CONVERSATION: Final = st.fixed_dictionaries(
    {"user_id": TEXT, "conversation_id": TEXT, "started_at": DATE, "messages": st.lists(SAID, max_size=4)}
)
OBJECT: Final = st.one_of(MEMORY, CONVERSATION)
LINE: Final = st.one_of(
    OBJECT.map(lambda found: json.dumps(found).encode()),
    OBJECT.map(lambda found: json.dumps(found, ensure_ascii=False).encode()),
    st.binary(max_size=80),
)
LINES: Final = st.lists(LINE, max_size=6).map(b"\n".join)
CURSOR: Final = st.tuples(st.floats(allow_nan=False, allow_infinity=False), TEXT).map(
    lambda cursor: base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode()
)

schemathesis.openapi.format("cursor", CURSOR)
schemathesis.openapi.media_type("application/x-ndjson", LINES)
