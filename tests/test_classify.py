"""Which requests are no user's turn: jobs of chat clients, steps of tool loops, probes, and what operators add."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.classify import LABELS, TOOL_STEP, Classifier
from proxy.classify.catalogue import Job, read_catalogue
from proxy.classify.classifier import HEAD, TAIL
from proxy.config import Classification, SkipRule
from proxy.dialects.chat_completions import ChatRequest
from tests.cost import cost

DATA: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "jobs.json").read_text("utf-8"))
JOBS = read_catalogue().job

SYSTEM = {"role": "system", "content": "Be kind."}
TEA = {"role": "user", "content": "Tea, please."}
ANSWER = {"role": "assistant", "content": "Here."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "18 °C"}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}


def user(text: str) -> dict[str, object]:
    return {"role": "user", "content": text}


def request_of(*messages: object, **fields: object) -> ChatRequest:
    return ChatRequest(json.dumps({"model": "m", "messages": messages, **fields}).encode())


def with_rules(*rules: SkipRule, builtin: bool = True) -> Classifier:
    return Classifier(Classification(builtin=builtin, rules=rules))


@pytest.fixture(scope="module", name="classifier")
def make_classifier() -> Classifier:
    return Classifier(Classification())


@pytest.mark.parametrize("entry", DATA["jobs"], ids=lambda entry: f"{entry['product']}-{entry['label']}")
def test_jobs(classifier: Classifier, entry: dict[str, Any]) -> None:
    """What clients ask on their own account is found, after the real history and with a quoted one."""
    messages = [{"role": role, "content": content} for role, content in entry["messages"]]
    assert classifier.classify(request_of(*messages)) == entry["label"]


def test_enough_jobs() -> None:
    """The labelled jobs are of many products, and every kind of job that has a rule is among them."""
    assert len(DATA["jobs"]) >= 60
    assert len({entry["product"] for entry in DATA["jobs"]}) >= 20
    assert {job.label for job in JOBS} == {entry["label"] for entry in DATA["jobs"]}
    assert len(DATA["ordinary"]) >= 100


@pytest.mark.parametrize("text", DATA["ordinary"])
def test_ordinary_messages(classifier: Classifier, text: str) -> None:
    """Whoever asks for titles, tags and summaries, or pastes a client's prompt to ask about it, is a user."""
    assert classifier.classify(request_of(user(text))) is None
    assert classifier.classify(request_of(SYSTEM, TEA, ANSWER, user(text), max_tokens=4096)) is None


def test_parts_and_white_space(classifier: Classifier) -> None:
    """A job in an array of parts, with blanks around it, is the same job."""
    text = {"type": "text", "text": f"\n  {JOBS[0].example}\n\n"}
    assert classifier.classify(request_of({"role": "user", "content": [text]})) == "title"


def test_jobs_that_quote_much(classifier: Classifier) -> None:
    """Neither a long history before the end of a job nor long instructions hide it."""
    quoted = JOBS[0].example.replace("USER: Hi", "USER: Hi\n" * 20_000)
    assert classifier.classify(request_of(user(quoted))) == "title"
    instructions = {
        "role": "system",
        "content": "You are a title generator. You output ONLY a thread title." + "x" * 10**5,
    }
    assert classifier.classify(request_of(instructions, TEA)) == "title"


def test_first_and_last_instructions(classifier: Classifier) -> None:
    """A client's job is found before an operator's instructions and after them, not in a message of the user's."""
    job = "You are a title generator. You output ONLY a thread title."
    for role in ("system", "developer"):
        assert classifier.classify(request_of({"role": role, "content": job}, SYSTEM, TEA)) == "title"
        assert classifier.classify(request_of(SYSTEM, TEA, {"role": role, "content": job})) == "title"
    assert classifier.classify(request_of(SYSTEM, user(job))) is None


def test_only_the_last_message_counts(classifier: Classifier) -> None:
    """A job that was answered once does not make a job of what the user says later."""
    job = user(JOBS[0].example)
    assert classifier.classify(request_of(job, ANSWER, TEA)) is None
    assert classifier.classify(request_of(job, TEA)) is None


@pytest.mark.parametrize("builtin", [True, False])
@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([TEA, CALL, RESULT], TOOL_STEP),
        ([SYSTEM, TEA, ANSWER, TEA, CALL, RESULT], TOOL_STEP),
        ([TEA, {"role": "function", "name": "f", "content": "1"}], TOOL_STEP),
        ([user(JOBS[0].example), CALL, RESULT], TOOL_STEP),
        ([], "no_words"),
        ([SYSTEM], "no_words"),
        ([IMAGE], "no_words"),
        ([SYSTEM, TEA, ANSWER, IMAGE], "no_words"),
        ([TEA, ANSWER], "no_words"),
        ([ANSWER], "no_words"),
        ([user(" \n")], "no_words"),
        ([TEA, CALL, RESULT, ANSWER, TEA], None),
        ([TEA, IMAGE], None),
        ([ANSWER, TEA], None),
        ([SYSTEM, TEA], None),
    ],
)
def test_without_words(messages: list[object], expected: str | None, builtin: bool) -> None:
    """Steps of a tool loop and requests in which nobody says anything are known without any rule."""
    assert with_rules(builtin=builtin).classify(request_of(*messages)) == expected


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("ping", {"max_tokens": 1}),
        ("test", {"max_tokens": 16}),
        ("hi", {"max_completion_tokens": 10}),
        ("Hello!", {"max_tokens": 5, "temperature": 0}),
        (" Hi\n", {"max_tokens": 2}),
        ("Hey how's it going?", {"max_tokens": 1}),
        ("What's 1 + 1?", {"max_tokens": 10, "tools": None}),
        ("你好", {"max_tokens": 16, "tools": []}),
        ("test from litellm", {}),
    ],
)
def test_probes(classifier: Classifier, text: str, fields: dict[str, object]) -> None:
    """A word that says nothing, to be answered with next to nothing, is a monitor's."""
    assert classifier.classify(request_of(user(text), **fields)) == "health_check"
    assert with_rules(builtin=False).classify(request_of(user(text), **fields)) is None


@pytest.mark.parametrize(
    ("messages", "fields"),
    [
        ([user("hi")], {}),
        ([user("hi")], {"max_tokens": 17}),
        ([user("hi")], {"max_tokens": None}),
        ([user("hi")], {"max_tokens": 0}),
        ([user("hi")], {"max_tokens": -1}),
        ([user("hi")], {"max_tokens": "1"}),
        ([user("hi")], {"max_tokens": 1, "max_completion_tokens": 500}),
        ([user("hi")], {"max_tokens": 1, "tools": [{"type": "function"}]}),
        ([user("hi")], {"max_tokens": 1, "functions": [{"name": "f"}]}),
        ([user("yes")], {"max_tokens": 1}),
        ([user("hi, I am Ann")], {"max_tokens": 1}),
        ([SYSTEM, user("hi")], {"max_tokens": 1}),
        ([TEA, ANSWER, user("ok")], {"max_tokens": 1}),
        ([TEA, user("ok")], {"max_tokens": 1}),
    ],
)
def test_people_greet_too(classifier: Classifier, messages: list[object], fields: dict[str, object]) -> None:
    """A greeting in an ordinary request, and a short answer to anything else, are a user's."""
    assert classifier.classify(request_of(*messages, **fields)) is None


REPORT = SkipRule(name="report", pattern=r"(?i)^nightly report \d+")
GRADER = SkipRule(name="grader", where="system", pattern=r"You grade essays\.\Z")


@pytest.mark.parametrize("builtin", [True, False])
def test_rules_of_the_operator(builtin: bool) -> None:
    """An operator's patterns are searched for in their own place, and count under one name."""
    classifier = with_rules(REPORT, GRADER, builtin=builtin)
    grader = {"role": "developer", "content": "You grade essays."}
    assert classifier.classify(request_of(TEA, ANSWER, user("Nightly report 7"))) == "custom"
    assert classifier.classify(request_of(SYSTEM, grader, TEA)) == "custom"
    assert classifier.classify(request_of(grader, SYSTEM, TEA)) is None
    assert classifier.classify(request_of(user("Nightly report 7"), ANSWER, TEA)) is None
    assert classifier.classify(request_of(SYSTEM, user("You grade essays."))) is None
    assert classifier.classify(request_of(SYSTEM, TEA)) is None
    assert classifier.classify(request_of(TEA)) is None


def test_builtin_rules_can_be_switched_off() -> None:
    """Then a client's job is a user's turn, unless an operator's rule says otherwise."""
    job = request_of(user(JOBS[0].example))
    assert with_rules(builtin=False).classify(job) is None
    assert with_rules(SkipRule(name="tasks", pattern="^### Task:"), builtin=False).classify(job) == "custom"
    assert with_rules(SkipRule(name="tasks", pattern="^### Task:")).classify(job) == "title"


@pytest.mark.parametrize("where", ["user", "system"])
def test_patterns_see_the_ends_of_long_texts(where: str) -> None:
    """Of a long text an operator's pattern sees the beginning and the end, so that none is expensive."""
    classifier = with_rules(SkipRule(name="needle", where="user" if where == "user" else "system", pattern="needle"))

    def classify(text: str) -> str | None:
        message = {"role": where, "content": text}
        return classifier.classify(request_of(*([message] if where == "user" else [message, TEA])))

    long = 10 * HEAD * "x"
    assert classify("x" * (HEAD - 6) + "needle" + long) == "custom"
    assert classify(long + "needle" + "x" * (TAIL - 6)) == "custom"
    assert classify("x" * HEAD + "needle" + "x" * TAIL + long) is None
    assert classify("x" * (HEAD - 3) + "needle" + "x" * (TAIL - 3)) == "custom"


@pytest.mark.parametrize("start", ["", "### Task:\n", "Available Tools: "])
def test_long_messages_cost_no_more(classifier: Classifier, start: str) -> None:
    """100 kB, even where they begin like a job, are judged in a fraction of a millisecond."""
    request = request_of(SYSTEM, user(start + "What about the garden? " * 4500))
    assert request.new  # read before, as for any request
    assert classifier.classify(request) is None
    assert cost(lambda: classifier.classify(request), rounds=20) < 0.0005


@pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.label}-{job.source}")
def test_each_rule(job: Job) -> None:
    """Each finds its own example and no earlier rule does; each has two fragments at least, or a long one."""
    assert next(rule for rule in JOBS if set(rule.where) & set(job.where) and rule.matches(job.example)) is job
    assert job.contains or job.ends or min(map(len, job.begins)) >= 60
    assert min(map(len, job.begins), default=0) >= 6
    assert len(job.example) <= 300


@pytest.mark.parametrize(
    "job", [job for job in JOBS if "user" in job.where], ids=lambda job: f"{job.label}-{job.source}"
)
def test_quoted_jobs_are_talked_about(classifier: Classifier, job: Job) -> None:
    """A job with words before it is no job; nor is one with words after it, where it has an end of its own."""
    assert classifier.classify(request_of(user(job.example))) == job.label
    assert classifier.classify(request_of(user(f"What does this do?\n{job.example}"))) is None
    if job.ends:
        assert classifier.classify(request_of(user(f"{job.example}\nWhat does this do?"))) is None


def test_labels() -> None:
    """They are the names that a metric may count under: all of them, each once, and no others."""
    assert len(set(LABELS)) == len(LABELS)
    assert {*(job.label for job in JOBS), "health_check", "tool_step", "no_words", "custom"} == set(LABELS)
