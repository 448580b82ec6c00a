"""Whatever can be read as a chat request is judged without an exception, and nothing is judged twice differently."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.classify import LABELS, Classifier
from proxy.classify.catalogue import read_catalogue
from proxy.config import Classification, SkipRule
from proxy.dialects.chat_completions import ChatRequest
from tests.test_splice_properties import chats, damaged, values, written

RULES = (SkipRule(name="a", pattern="(a|\\s)+$"), SkipRule(name="b", where="system", pattern="[^x]{3}"))
CLASSIFIERS = [
    Classifier(Classification(builtin=builtin, rules=rules)) for builtin in (True, False) for rules in ((), RULES)
]
CATALOGUE = read_catalogue()

fragments = st.sampled_from(
    [text for job in CATALOGUE.job for text in (*job.begins, *job.contains, *job.ends, job.example)]
    + [*CATALOGUE.probe.texts, *CATALOGUE.probe.always, *CATALOGUE.placeholders]
)
texts = st.lists(fragments | st.text(max_size=8), max_size=4).map("\n".join)
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
messages = st.fixed_dictionaries({"role": roles, "content": texts})
limits = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=2)


def check(request: ChatRequest) -> None:
    for classifier in CLASSIFIERS:
        label = classifier.classify(request)
        assert label is None or label in LABELS
        assert classifier.classify(request) == label
        if not request.new:
            assert label is not None


@settings(deadline=None, derandomize=True, max_examples=300)
@given(written(chats) | damaged() | written(values))
def test_any_body(body: bytes) -> None:
    """Odd contents, roles and options in any spelling have a verdict, if they are a chat at all."""
    request = ChatRequest.parse(body)
    if request is not None:
        check(request)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(messages, max_size=4), limits, limits)
def test_any_mixture_of_fragments(said: list[dict[str, Any]], limit: object, newer: object) -> None:
    """Pieces of jobs and probes in any order and role have a verdict."""
    body = json.dumps({"messages": said, "max_tokens": limit, "max_completion_tokens": newer}).encode()
    check(ChatRequest(body))
