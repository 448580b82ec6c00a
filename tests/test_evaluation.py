"""Scoring recall on a data set, from its files to the report."""

import json
from pathlib import Path

import pytest

from proxy.evaluation.stages import Plan, evaluate
from tests.datasets import make_chat, make_conversation, make_question, write_set

QUICK = Plan(quick=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    conversations = [
        make_conversation(0, "My dog is called Rex", "The zoo was shut"),
        make_conversation(1, "We painted the door green", "We painted the roof red"),
        make_conversation(0, "My dog is called Bo", user="carl"),
    ]
    questions = [
        make_question("What is my dog called?", ("ann-0", 0)),
        make_question("What is my dog called?", ("carl-0", 0), user="carl"),
        make_question("What did we paint?", ("ann-1", 0), ("ann-1", 1), kind="several"),
        make_question("Have I got a yacht?", ("ann-0", 1), kind="missed"),
        make_question("What is my cat called?", kind="plain"),
        make_question("Is my dog a cat?", ("ann-0", 1), kind="adversarial"),
    ]
    return write_set(tmp_path / "set", conversations, questions)


def test_evidence_is_counted_by_type_and_overall(folder: Path) -> None:
    """Shares are means over questions; those without evidence are left out, adversarial ones stand apart."""
    seen: list[tuple[str, int, int]] = []
    report = evaluate(folder, Plan(budgets=(60, 1000), quick=True), lambda *at: seen.append(at))
    assert (report.users, report.memories, report.left_out) == (2, 5, 1)
    assert report.types.keys() == {"plain", "several", "missed"}
    assert report.types["plain"].questions == 2
    assert report.types["several"].share.keys() == {60, 1000}
    assert report.types["several"].share[1000].mean == 1.0
    assert report.types["missed"].recall_at_10.mean == 0.0
    assert report.overall.recall_at_10.mean == pytest.approx(0.75)
    assert report.overall.share[1000].mean == pytest.approx(0.75)
    assert (report.overall.questions, report.apart["adversarial"].questions) == (4, 1)
    assert seen == [("users", 1, 2), ("users", 2, 2)]


def test_a_mean_has_its_interval(folder: Path) -> None:
    """Four questions are few: three of them answered may as well be a third or nearly all."""
    low, high = evaluate(folder, QUICK).overall.share[1000][1:]
    assert 0.2 < low < 0.6
    assert 0.9 < high <= 1


def test_a_small_budget_finds_less(folder: Path) -> None:
    """A budget without room for any line finds nothing and costs nothing, while the ranking still does."""
    report = evaluate(folder, Plan(budgets=(5,), quick=True))
    assert report.overall.share[5].mean == 0.0
    assert report.overall.tokens == {5: 0.0}
    assert report.overall.recall_at_10.mean > 0


def test_curves_are_of_each_type_and_of_all(folder: Path) -> None:
    """A curve has its own budgets; what stands apart has no curve."""
    report = evaluate(folder, Plan(quick=True, curve_budgets=(5, 1000)))
    assert report.curves.keys() == {"plain", "several", "missed", "all"}
    assert {budget: share.mean for budget, share in report.curves["all"].items()} == {5: 0.0, 1000: 0.75}
    assert report.overall.share.keys() == {500, 1000, 2000}


def test_a_quick_run_leaves_out_what_takes_long(folder: Path) -> None:
    """Neither store nor replays nor clock."""
    report = evaluate(folder, QUICK)
    assert (report.isolation, report.replays, report.digressions, report.timing) == (None, None, None, None)


def test_questions_of_another_set_are_asked(folder: Path, tmp_path: Path) -> None:
    """They should find nothing; a question that fits a user's life all the same is seen to."""
    about_dogs = [make_question("What is the name of the dog, Rex or Bo?")] * 3
    other = write_set(tmp_path / "other", [], about_dogs)
    assert evaluate(folder, QUICK).relevance.others is None
    terse = [make_conversation(0, "Rex barks")]
    talkative = [make_conversation(0, *(f"My dog Rex met dog number {n} in the park of our town" for n in range(40)))]
    asked = [make_question("Whom did Rex meet?", ("ann-0", 0))]
    sets = [write_set(tmp_path / f"ann-{n}", said, asked) for n, said in enumerate((terse, talkative))]
    quiet, found = (evaluate(one, Plan(quick=True, others=other)).relevance.others for one in sets)
    assert quiet is not None
    assert found is not None
    assert (quiet.mean, found.mean) == (0.0, 1.0)


def test_a_full_run_reports_everything_as_plain_data(tmp_path: Path) -> None:
    """All parts are there, and can be written as JSON; old names of figures still hold plain numbers."""
    remarks = [f"Let us talk about item {number} of the long list of the things to do" for number in range(12)]
    conversations = [make_chat(0, "My dog is called Rex", "A fine name"), make_chat(1, *remarks)]
    questions = [make_question("What is my dog called?", ("ann-0", 0), answer="Rex")]
    folder = write_set(tmp_path / "set", conversations, questions)
    seen: list[tuple[str, int, int]] = []
    report = evaluate(folder, Plan(sizes=(10, 30)), lambda *at: seen.append(at))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["overall"]["share"] == {"500": 1, "1000": 1, "2000": 1}
    assert data["overall"]["intervals"]["share"]["500"] == [0, 1]
    assert data["overall"]["answer_words"]["500"] == 1
    assert 0 < data["recall_ms"]["p50"] <= data["recall_ms"]["p99"]
    assert data["relevance"]["greetings"].keys() == {"mean", "low", "high"}
    assert (data["isolation"]["users"], data["isolation"]["foreign"]) == (1, 0)
    assert data["replays"]["system"]["conversations"] == 1
    assert data["digressions"]["system"]["questions"] == 1
    assert [size["memories"] for size in data["timing"]["sizes"]] == [10, 30]
    assert seen == [("stored", 1, 1), ("users", 1, 1), ("sizes timed", 1, 2), ("sizes timed", 2, 2)]
