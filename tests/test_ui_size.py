"""The inspector with a user of 20,000 memories: nothing lags, and the document stays small."""

import json
import re
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import WAIT_MS, needs_chromium, open_tab, running_browser, store
from tests.processes import Proxy

pytestmark = needs_chromium
expect.set_options(timeout=WAIT_MS)

MANY = 20_000
TURNS = 20
# Elements of the whole document, whatever the user has. A row has about ten.
MOST_NODES = 1_500
COUNT = "document.querySelectorAll('*').length"
NOWHERE = "http://127.0.0.1:9"
THINGS = ["river", "kettle", "garden", "violin", "harbour", "lantern", "compass", "orchard", "sweater", "balcony"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with one large user. Messages are of very different length, and the last one is easy to find."""
    with Proxy(tmp_path_factory.mktemp("size") / "data", NOWHERE) as proxy:
        proxy.wait_ready()
        for start in range(0, MANY // TURNS, 250):
            store(proxy, (make_conversation(number) for number in range(start, start + 250)))
        yield proxy


def make_conversation(number: int) -> dict[str, object]:
    """One of a thousand, each of another day."""
    day = f"20{10 + number // 336:02}-{1 + number // 28 % 12:02}-{1 + number % 28:02}"
    messages = [
        {
            "role": "assistant" if turn % 2 else "user",
            "content": f"Note {number * TURNS + turn}: the {THINGS[(number + turn) % 10]} is near the "
            f"{THINGS[number * 7 % 10]}. " + "It was broken last week. " * (turn % 5 * 4),
        }
        for turn in range(TURNS)
    ]
    return {
        "user_id": "archive",
        "conversation_id": f"log-{number}",
        "started_at": f"{day}T08:00:00Z",
        "messages": messages,
    }


@pytest.fixture(scope="module")
def page(server: Proxy) -> Iterator[Page]:
    """The one page of the module, in which nothing may go wrong. What it has loaded it keeps."""
    with running_browser() as browser, open_tab(browser, server) as tab:
        yield tab.page


@pytest.fixture
def archive(server: Proxy, page: Page) -> str:
    """The address of the large user."""
    return f"{server.url}/ui#/user/archive"


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text} ")


LOOK = """async (part) => {
  const list = document.querySelector(".vlist");
  list.scrollTop = part * (list.scrollHeight - list.clientHeight);
  for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
  const seen = list.getBoundingClientRect();
  const rows = [...list.querySelectorAll(".vrow")].map((row) => row.getBoundingClientRect());
  let at = seen.top;
  for (const { top, bottom } of rows.sort((a, b) => a.top - b.top)) if (top <= at + 1) at = Math.max(at, bottom);
  return at >= seen.bottom - 1;
}"""


def scroll_to_the_end(page: Page) -> int:
    """In forty steps, between which there may be no gaps; answers the most elements that the document had."""
    counts: list[int] = []
    for step in range(1, 41):
        assert page.evaluate(LOOK, step / 40), f"a gap at {step}/40"
        counts.append(page.evaluate(COUNT))
    page.keyboard.press("End")
    return max(counts)


def test_the_timeline_keeps_the_document_small(page: Page, archive: str, capsys: pytest.CaptureFixture[str]) -> None:
    """While pages still come, too; and the end is the end."""
    page.goto(archive)
    expect(page.locator(".vrow").first).to_be_visible()
    expect(page.get_by_role("progressbar")).to_be_visible()
    most = page.evaluate(COUNT)
    expect(page.locator(".user-facts")).to_have_text(re.compile(r"^20,000 memories"))
    expect(page.get_by_role("progressbar")).to_be_hidden()
    most = max(most, scroll_to_the_end(page))
    expect(page.locator(".vrow:focus")).to_contain_text(f"Note {TURNS - 1}:")
    assert most < MOST_NODES
    say(capsys, f"timeline: at most {most:,} elements in the document")


def test_so_does_the_table(page: Page, archive: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Sorted by another column, too."""
    page.goto(f"{archive}?view=table")
    expect(page.get_by_role("table", name="Memories")).to_be_visible()
    most = scroll_to_the_end(page)
    expect(page.locator(".vrow:focus")).to_contain_text("Note 0:")
    page.get_by_role("columnheader", name="Text").get_by_role("button").click()
    expect(page.locator("div.vrow.memory-row").first).to_contain_text("Note 0:")
    assert most < MOST_NODES
    say(capsys, f"table: at most {most:,} elements in the document")


def test_filtering_is_instant(page: Page, archive: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All 20,000 are looked through in the page with each letter."""
    page.goto(f"{archive}?view=")
    expect(page.locator(".matches")).to_have_text("20,000 memories")
    took = page.evaluate(
        """async () => {
          const box = document.querySelector("#search");
          const began = performance.now();
          box.value = "note 777";
          box.dispatchEvent(new Event("input"));
          await new Promise(requestAnimationFrame);
          return performance.now() - began;
        }"""
    )
    expect(page.locator(".matches")).to_have_text(f"{sum('777' in str(note) for note in range(MANY))} of 20,000")
    expect(page.locator(".vrow mark").first).to_be_visible()
    assert took < 1_000
    say(capsys, f"filtering: {took:.0f} ms until it was painted")


def test_a_link_to_an_old_memory_leads_there(server: Proxy, page: Page, archive: str) -> None:
    """However far down it is, also when the page has to load everything first."""
    found = server.call("POST", "/memory/users/archive/search", json={"query": "note 123", "limit": 50}).json()
    memory = next(one for one in found["memories"] if "Note 123:" in one["text"])
    page.goto(f"{archive}?memory={memory['id']}")
    page.reload()
    expect(page.locator(".detail .said")).to_contain_text("Note 123:")
    expect(page.locator(".vrow[aria-current=true]")).to_be_in_viewport()


def test_search_over_all(page: Page, archive: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With all reasons; the answer is drawn as soon as it is there."""
    page.goto(f"{archive}/search")
    with page.expect_response("**/search*") as asked:
        page.get_by_role("searchbox").fill("Where is the violin of note 4242?")
    expect(page.locator(".result").filter(has_text="Note 4242:")).to_be_visible()
    answer = json.loads(asked.value.body())
    timing = asked.value.request.timing
    assert max(one["why"]["lexical"] for one in answer["memories"]) == 1
    assert page.evaluate(COUNT) < MOST_NODES
    in_browser = timing["responseEnd"] - timing["requestStart"]
    say(capsys, f"search over {MANY:,}: {answer['elapsed_ms']:.0f} ms in the proxy, {in_browser:.0f} ms in the browser")
