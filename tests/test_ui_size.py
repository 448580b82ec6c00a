"""The inspector with a user of 20,000 memories: nothing lags, and the document stays small.

The pages of memories are made here and now, as the proxy would answer them: to store so many takes longer than to look
at them. What is searched is real, and as much as MEMORY_PROXY_UI_MEMORIES says.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browsing import WAIT_MS, needs_chromium, open_tab, running_browser, store
from tests.processes import Proxy

pytestmark = needs_chromium
expect.set_options(timeout=WAIT_MS)

MANY = 20_000
STORED = int(os.environ.get("MEMORY_PROXY_UI_MEMORIES", "2000"))
TURNS = 20
# Elements of the whole document, whatever the user has. A row has about ten.
MOST_NODES = 1_500
COUNT = "document.querySelectorAll('*').length"
NOWHERE = "http://127.0.0.1:9"
THINGS = ["river", "kettle", "garden", "violin", "harbour", "lantern", "compass", "orchard", "sweater", "balcony"]
BEGAN = datetime(2020, 1, 1, 8, tzinfo=UTC)


def tell(note: int) -> str:
    """What is said in a message. They are of very different length, and each has its number."""
    thing, place = THINGS[note * 3 % 10], THINGS[note * 7 % 10]
    return f"Note {note}: the {thing} is near the {place}. " + "It was broken last week. " * (note % 5 * 4)


def make_memory(note: int) -> dict[str, object]:
    """One of a thousand conversations of twenty messages, each of another day."""
    conversation, turn = divmod(note, TURNS)
    at = BEGAN + timedelta(days=conversation, minutes=turn)
    role = "assistant" if turn % 2 else "user"
    memory = {"id": f"note-{note}", "user_id": "archive", "kind": "turn", "role": role, "text": tell(note)}
    return {
        **memory,
        "created_at": at.isoformat(),
        "conversation_id": f"log-{conversation}",
        "message_index": turn,
    }


def answer_page(route: Route) -> None:
    """A page of the large user's memories, newest first; the cursor is where it ended."""
    query = parse_qs(urlsplit(route.request.url).query)
    start, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
    notes = range(MANY - 1 - start, max(-1, MANY - 1 - start - limit), -1)
    cursor = str(start + limit) if start + limit < MANY else None
    route.fulfill(json={"memories": [make_memory(note) for note in notes], "cursor": cursor})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with one user of many memories."""
    with Proxy(tmp_path_factory.mktemp("size") / "data", NOWHERE) as proxy:
        proxy.wait_ready()
        for start in range(0, STORED, 5_000):
            store(proxy, (make_memory(note) for note in range(start, min(STORED, start + 5_000))))
        yield proxy


@pytest.fixture(scope="module")
def page(server: Proxy) -> Iterator[Page]:
    """The one page of the module, in which nothing may go wrong. What it has loaded it keeps."""
    with running_browser() as browser, open_tab(browser, server) as tab:
        tab.page.route(re.compile("/memory/users/archive/memories"), answer_page)
        yield tab.page


@pytest.fixture
def archive(server: Proxy) -> str:
    """The address of the large user."""
    return f"{server.url}/ui#/user/archive"


def report(capsys: pytest.CaptureFixture[str], text: str) -> None:
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
    most = page.evaluate(COUNT)
    expect(page.locator(".user-facts")).to_have_text(re.compile(r"^20,000 memories"))
    expect(page.get_by_role("progressbar")).to_be_hidden()
    most = max(most, scroll_to_the_end(page))
    expect(page.locator(".vrow:focus")).to_contain_text(f"Note {TURNS - 1}:")
    assert most < MOST_NODES
    report(capsys, f"timeline: at most {most:,} elements in the document")


def test_so_does_the_table(page: Page, archive: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Which begins anew when it is sorted."""
    page.goto(f"{archive}?view=table")
    expect(page.get_by_role("table", name="Memories")).to_be_visible()
    most = scroll_to_the_end(page)
    expect(page.locator(".vrow:focus")).to_contain_text("Note 0:")
    page.get_by_role("columnheader", name="Conversation").get_by_role("button").click()
    expect(page.locator("div.vrow.memory-row").first).to_contain_text("log-0")
    assert most < MOST_NODES
    report(capsys, f"table: at most {most:,} elements in the document")


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
    report(capsys, f"filtering: {took:.0f} ms until it was painted")


def test_a_link_to_an_old_memory_leads_there(page: Page, archive: str) -> None:
    """However far down it is, also when the page has to load everything first."""
    page.goto(f"{archive}?memory=note-123")
    page.reload()
    expect(page.locator(".detail .said")).to_contain_text("Note 123:")
    expect(page.locator(".vrow[aria-current=true]")).to_be_in_viewport()


def test_search_over_all_that_is_stored(page: Page, archive: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With all reasons; the answer is drawn as soon as it is there. Memories are loaded before anything is asked."""
    with page.expect_response(re.compile(r"/memory/.*/search")) as loaded:
        page.goto(f"{archive}/search")
    report(capsys, f"loaded in {json.loads(loaded.value.body())['elapsed_ms']:.0f} ms")
    for note, visit in ((1234, "first"), (432, "second")):
        with page.expect_response(re.compile(r"/memory/.*/search")) as asked:
            page.get_by_role("searchbox").fill(f"Where is the violin of note {note}?")
        expect(page.locator(".result").filter(has_text=f"Note {note}:")).to_be_visible()
        answer = json.loads(asked.value.body())
        timing = asked.value.request.timing
        assert max(one["why"]["lexical"] for one in answer["memories"]) == 1
        assert page.evaluate(COUNT) < MOST_NODES
        in_browser = timing["responseEnd"] - timing["requestStart"]
        times = f"{answer['elapsed_ms']:.0f} ms in the proxy, {in_browser:.0f} ms in the browser"
        report(capsys, f"the {visit} search over {STORED:,}: {times}")
