"""The inspector as an engineer uses it: a real Chromium on a real proxy."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from openai import OpenAI
from playwright.sync_api import Browser, Locator, Page, expect

from proxy.mock.upstream import UpstreamThread
from tests.browsing import (
    NARROW,
    OVERFLOWING,
    WAIT_MS,
    Shelf,
    Tab,
    needs_chromium,
    open_tab,
    running_browser,
    write_config,
)
from tests.processes import Proxy

pytestmark = needs_chromium
expect.set_options(timeout=WAIT_MS)

# Where the picture of the README is to be written. Read here: what the shell has set for a proxy reaches no test.
PICTURE = os.environ.get("MEMORY_PROXY_PICTURE")
MAYA = "maya.okafor@northwind.example"
CONFIG = """
memory: {deadline_ms: 10000}
traces: {content: true}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The one proxy of the module, in front of the built-in upstream. Each test has users of its own, but for Maya."""
    folder = tmp_path_factory.mktemp("ui")
    options = write_config(folder / "config.yaml", CONFIG)
    with UpstreamThread() as upstream, Proxy(folder / "data", upstream.url, *options) as proxy:
        proxy.wait_ready()
        tell_of_maya().store(proxy)
        yield proxy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The one browser of the module."""
    with running_browser() as started:
        yield started


@pytest.fixture
def tab(browser: Browser, server: Proxy) -> Iterator[Tab]:
    """A window of the test's own, in which nothing may go wrong."""
    with open_tab(browser, server) as opened:
        yield opened


def tell_of_maya() -> Shelf:
    """What one user said: with facts, and with what was replaced."""
    shelf = Shelf(MAYA)
    moved = shelf.say(
        "chat-7f3a",
        212,
        "Hi, I'm Maya. I just moved to Lisbon with my dog Biscuit, a beagle.",
        "Welcome to Lisbon, Maya! Biscuit must be enjoying the river walks.",
        "Yes. Biscuit is allergic to chicken, so I need to find a good vet and safe food here.",
        "Salmon or lamb are good proteins for a beagle with that allergy. Look for a clinic for elimination diets.",
    )
    (vegetarian, *_) = shelf.say(
        "chat-91c0", 160, "I'm vegetarian, please keep that in mind for recipes.", "Noted: vegetarian recipes only."
    )
    shelf.say(
        "chat-b21d",
        96,
        "Our p99 latency for the checkout service went from 180 ms to 900 ms after we upgraded to Envoy 1.31.",
        "Check whether the upgrade changed `max_requests_per_connection`, and whether draining now holds requests.",
    )
    (vegan, *_) = shelf.say(
        "chat-c977", 41, "I'm vegan now, by the way. No more cheese, sadly.", "Understood, vegan it is."
    )
    shelf.replace(vegetarian, vegan)
    shelf.say(
        "chat-d5e2",
        12,
        "Biscuit had a reaction again. The vet says he's allergic to turkey as well as chicken: a salmon diet.",
        "Eight weeks is usual for such a diet. Avoid treats with poultry fat, and read the labels of supplements.",
        "Can you plan a birthday dinner for my partner Jonas on June 14? He eats fish.",
        "Grilled sea bream with fennel and orange for Jonas, and a vegan caponata with polenta for you.",
    )
    shelf.say(
        "chat-e0b8", 2, "We moved again: our new flat is in Porto, Rua das Flores 112.", "Congratulations on the move!"
    )
    assert moved
    old = shelf.know(("chat-7f3a", 0), 212, "Maya lives in Lisbon.", "I just moved to Lisbon")
    between = shelf.know(("chat-b21d", 0), 96, "Maya lives in Almada, across the river.", "Our p99 latency")
    new = shelf.know(("chat-e0b8", 0), 2, "Maya lives in Porto, at Rua das Flores 112.", "our new flat is in Porto")
    shelf.replace(old, between)
    shelf.replace(between, new)
    first = shelf.know(("chat-7f3a", 2), 211, "Biscuit is allergic to chicken.", "Biscuit is allergic to chicken")
    second = shelf.know(
        ("chat-d5e2", 0),
        12,
        "Biscuit, Maya's beagle, is allergic to chicken and turkey, and is on a salmon diet.",
        "allergic to turkey as well as chicken",
    )
    shelf.replace(first, second)
    return shelf


def make_client(server: Proxy, user: str | None, **headers: str) -> OpenAI:
    """The official client, as a chatbot of *user* has it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return OpenAI(
        base_url=f"{server.url}/v1",
        api_key="sk-test",
        max_retries=0,
        default_headers=named if user is None else {"X-User-Id": user, **named},
    )


def chat(server: Proxy, user: str | None, text: str, **headers: str) -> str:
    """What a chatbot is answered."""
    with make_client(server, user, **headers) as client:
        answer = client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content or ""


def rows(page: Page) -> Locator:
    """The rows of the list that is shown."""
    return page.locator(".vrow")


def detail(page: Page) -> Locator:
    """What is shown of what was chosen."""
    return page.locator(".detail:visible article")


def test_a_user_is_found(server: Proxy, tab: Tab) -> None:
    """By a part of the id, and an id to the letter opens with Enter; back leads to the list, forward to the user."""
    for user in ("finder-one", "finder-two", "finder-one-b"):
        shelf = Shelf(user)
        shelf.say("c", 1, "I like tea.")
        shelf.store(server)
    page = tab.open()
    expect(rows(page).filter(has_text=MAYA)).to_be_visible()
    page.get_by_role("searchbox", name="Find a user").fill("FINDER-")
    expect(page.get_by_role("status").filter(has_text="3 users")).to_be_visible()
    expect(page).to_have_url(re.compile("search=FINDER-"))
    expect(rows(page).filter(has_text="finder-two").locator("time")).to_have_text("yesterday")
    expect(rows(page).filter(has_text="finder-two").locator("time")).to_have_attribute("title", re.compile("20.*WES?T"))
    page.get_by_role("searchbox", name="Find a user").fill("finder-one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("finder-one")
    assert "finder-one-b" not in page.get_by_role("heading", level=1).inner_text()
    assert page.title() == "finder-one · memory-proxy"
    page.go_back()
    expect(page.get_by_role("searchbox", name="Find a user")).to_have_value("finder-one")
    page.go_forward()
    expect(page.get_by_text("I like tea.").first).to_be_visible()
    tab.open_user("finder-one", memory="of-long-ago")
    expect(page.get_by_text("not stored any more")).to_be_visible()
    tab.open("/users?search=nobody-has-this-id")
    expect(page.get_by_text("Nobody found")).to_be_visible()


def test_memories_are_a_timeline_and_a_table(tab: Tab) -> None:
    """By day and conversation, or sorted by a column; the address says which, and what is chosen."""
    page = tab.open_user(MAYA)
    expect(page.get_by_text("21 memories · 4 superseded")).to_be_visible()
    expect(page.locator(".conversation").first).to_contain_text("Conversation chat-e0b8")
    expect(rows(page).filter(has_text="our new flat is in Porto")).to_have_class(re.compile("by-user"))
    expect(rows(page).filter(has_text="Congratulations")).to_have_class(re.compile("by-assistant"))
    expect(rows(page).filter(has_text="Maya lives in Porto")).to_have_class(re.compile("by-fact"))
    page.get_by_role("button", name="Table").click()
    expect(page.get_by_role("table", name="Memories")).to_be_visible()
    page.get_by_role("columnheader", name="Text").get_by_role("button").click()
    expect(page.get_by_role("columnheader", name="Text")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("div.vrow.memory-row").first).to_contain_text("Biscuit had a reaction")
    page.locator("div.vrow.memory-row").first.click()
    expect(detail(page)).to_contain_text("The vet says he's allergic to turkey")
    expect(page).to_have_url(re.compile("view=table.*sort=text.*memory="))
    page.reload()
    expect(detail(page)).to_contain_text("The vet says he's allergic to turkey")
    expect(page.locator("div.vrow.memory-row").first).to_contain_text("Biscuit had a reaction")


def test_the_filter_is_of_the_page(tab: Tab) -> None:
    """Nothing is asked for; every part of it narrows what is shown, and words are marked."""
    page = tab.open_user(MAYA)
    expect(page.locator(".matches")).to_have_text("17 of 21")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/readyz" not in request.url else None)
    page.get_by_role("searchbox", name="Filter by text").fill("biscuit ALLERGIC")
    expect(page.locator(".matches")).to_have_text("3 of 21")
    expect(page.locator(".vrow mark").first).to_have_text("Biscuit")
    page.get_by_label("Kind").select_option("fact")
    expect(page.locator(".matches")).to_have_text("1 of 21")
    page.get_by_label("Superseded").select_option("all")
    expect(page.locator(".matches")).to_have_text("2 of 21")
    page.get_by_label("Superseded").select_option("only")
    expect(rows(page).filter(has_text="Biscuit is allergic to chicken.")).to_have_class(re.compile("old"))
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.get_by_text("No memory fits")).to_be_visible()
    page.get_by_role("button", name="Clear the filter").click()
    expect(page.locator(".matches")).to_have_text("17 of 21")
    page.get_by_label("Role").select_option("assistant")
    expect(page.locator(".matches")).to_have_text("8 of 21")
    page.get_by_label("Role").select_option("")
    page.get_by_label("Origin").select_option("extracted")
    expect(page.locator(".matches")).to_have_text("2 of 21")
    page.get_by_label("Origin").select_option("")
    page.get_by_label("From").fill(page.locator(".vrow time").first.get_attribute("datetime").split("T")[0])  # type: ignore[union-attr]
    expect(page.locator(".matches")).not_to_have_text("17 of 21")
    assert asked == []


def test_search_tells_why(tab: Tab) -> None:
    """Scores with their parts, in numbers and words; what was found is marked."""
    page = tab.open_user(MAYA)
    page.get_by_role("link", name="Search").click()
    page.get_by_role("searchbox").fill("What is my dog allergic to?")
    best = rows(page).filter(has_text="Yes. Biscuit is allergic")
    expect(page.locator(".relevance.good")).to_contain_text("It has to do with what this user said")
    expect(page.locator(".asked")).to_contain_text("allerg")
    expect(best.locator("mark", has_text="allergic").first).to_be_visible()
    assert best.locator(".score rect").count() >= 3
    shown = [float(text) for text in page.locator(".rank .number").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    rows(page).filter(has_text="Yes. Biscuit is allergic to chicken").click()
    why = detail(page).locator(".why")
    expect(why).to_contain_text("allerg")
    expect(why).to_contain_text("Cosine of its vector and the question's")
    parts = [float(text) for text in why.locator("tbody td.number").all_inner_texts()]
    assert sum(parts) == pytest.approx(float(why.locator("tfoot td.number").inner_text()), abs=0.03)
    expect(page).to_have_url(re.compile("search.*q=What.*memory="))
    page.get_by_role("searchbox").fill("How do I configure a Cisco router for BGP?")
    expect(page.locator(".relevance.bad")).to_contain_text("nothing to do with what this user said")


def test_a_factor_is_told(tab: Tab) -> None:
    """What the assistant said counts for less, and the page says by how much."""
    page = tab.open_user(MAYA, "search", q="elimination diet for a beagle with that allergy")
    rows(page).filter(has_text="assistant").first.click()
    expect(detail(page).locator(".factors")).to_contain_text("× 0.60")
    expect(detail(page).locator(".factors")).to_contain_text("said by the assistant")


def test_chains_and_quotes_lead_on(tab: Tab) -> None:
    """What replaced what, oldest first; a fact's quote, and the message that it is from."""
    page = tab.open_user(MAYA)
    rows(page).filter(has_text="Maya lives in Porto").click()
    chain = detail(page).locator(".chain > li")
    expect(chain).to_have_count(3)
    assert [re.search(r"Lisbon|Almada|Porto", text).group() for text in chain.all_inner_texts()] == [  # type: ignore[union-attr]
        "Lisbon",
        "Almada",
        "Porto",
    ]
    expect(chain.last).to_contain_text("holds")
    expect(chain.first).to_contain_text("until")
    expect(detail(page).locator("blockquote")).to_have_text("our new flat is in Porto")
    detail(page).get_by_role("link", name="message 0 of chat-e0b8").click()
    expect(detail(page).locator(".said")).to_have_text("We moved again: our new flat is in Porto, Rua das Flores 112.")
    page.go_back()
    expect(detail(page).locator(".said")).to_have_text("Maya lives in Porto, at Rua das Flores 112.")
    chain.first.get_by_role("link").click()
    expect(detail(page).locator(".said")).to_have_text("Maya lives in Lisbon.")
    expect(page.get_by_label("Superseded")).to_have_value("all")


def test_what_was_superseded_holds_again(server: Proxy, tab: Tab) -> None:
    """One button, and the proxy knows."""
    shelf = Shelf("restorer")
    (old, *_) = shelf.say("c1", 20, "I'm vegetarian.")
    (new, *_) = shelf.say("c2", 10, "I'm vegan.")
    shelf.replace(old, new)
    shelf.store(server)
    page = tab.open_user("restorer")
    rows(page).filter(has_text="I'm vegan.").click()
    detail(page).locator(".chain").get_by_role("button", name="Restore").click()
    expect(page.get_by_text("Restored. It holds again.")).to_be_visible()
    expect(rows(page).filter(has_text="I'm vegetarian.")).to_be_visible()
    assert "I'm vegetarian." in server.texts("restorer")


def test_a_memory_is_edited_and_one_is_added(server: Proxy, tab: Tab) -> None:
    """In place; what was typed is kept while one looks elsewhere, and Esc gives it up."""
    shelf = Shelf("editor")
    shelf.say("c1", 3, "My bike is red.", "Nice.")
    shelf.store(server)
    page = tab.open_user("editor")
    rows(page).filter(has_text="My bike is red.").click()
    page.keyboard.press("e")
    box = page.get_by_role("textbox", name="Text of the memory")
    box.fill("My bike is green.")
    rows(page).filter(has_text="Nice.").click()
    expect(detail(page).locator(".said")).to_have_text("Nice.")
    rows(page).filter(has_text="My bike is red.").click()
    expect(box).to_have_value("My bike is green.")
    page.keyboard.press("e")
    box.press("Escape")
    expect(detail(page).locator(".said")).to_have_text("My bike is red.")
    detail(page).get_by_role("button", name="Edit").click()
    box.fill("My bike is blue.")
    box.press("Control+Enter")
    expect(detail(page).locator(".said")).to_have_text("My bike is blue.")
    expect(detail(page).locator(".tag.hand")).to_have_text("by hand")
    page.get_by_role("button", name="Add memory").click()
    page.get_by_role("textbox", name="What to remember").fill("Always answer in French.")
    page.get_by_role("button", name="Remember").click()
    expect(detail(page).locator(".said")).to_have_text("Always answer in French.")
    assert set(server.texts("editor")) == {"My bike is blue.", "Nice.", "Always answer in French."}


def test_erasing_waits_for_a_word(server: Proxy, tab: Tab) -> None:
    """Struck out first, anywhere in the page; undone at will; gone for good only when that is confirmed."""
    shelf = Shelf("eraser")
    shelf.say("c1", 3, "The code word is swordfish.", "Noted.", "My locker is 12.", "Noted, 12.")
    shelf.store(server)
    page = tab.open_user("eraser")
    erased: list[str] = []
    page.on("request", lambda request: erased.append(request.url) if request.method == "DELETE" else None)
    swordfish, locker = rows(page).filter(has_text="swordfish"), rows(page).filter(has_text="My locker")
    swordfish.click()
    detail(page).get_by_role("button", name="Erase").click()
    locker.click()
    page.keyboard.press("x")
    bar = page.get_by_role("region", name="To be erased")
    expect(bar).to_contain_text("2 memories will be erased for good.")
    expect(swordfish).to_have_class(re.compile("struck"))
    bar.get_by_role("button", name="Undo").click()
    expect(bar).to_contain_text("1 memory will be erased for good.")
    expect(locker).not_to_have_class(re.compile("struck"))
    page.get_by_role("link", name="Live").click()
    expect(bar).to_contain_text("1 memory will be erased for good.")
    assert erased == []
    assert server.texts("eraser").total() == 4
    page.go_back()
    expect(swordfish).to_have_class(re.compile("struck"))
    bar.get_by_role("button", name="Erase now").click()
    expect(page.get_by_text("1 memory erased for good.")).to_be_visible()
    expect(swordfish).to_have_count(0)
    page.get_by_role("button", name="Receipt").click()
    expect(page.get_by_role("dialog")).to_contain_text(re.compile("Digest.*[0-9a-f]{64}", re.DOTALL))
    assert set(server.texts("eraser")) == {"Noted.", "My locker is 12.", "Noted, 12."}
    expect(bar).to_be_hidden()


def expect_warning(page: Page) -> None:
    """Whoever leaves is asked first, and here stays."""
    with page.expect_event("dialog") as asked:
        page.evaluate("location.reload()")
    assert asked.value.type == "beforeunload"


def test_leaving_warns_of_what_is_not_erased_yet(browser: Browser, server: Proxy) -> None:
    """Of what is struck out, and of nothing else."""
    shelf = Shelf("leaver")
    shelf.say("c1", 3, "I collect stamps.")
    shelf.store(server)
    with open_tab(browser, server, expected=["dialog"]) as tab:
        page = tab.open_user("leaver")
        rows(page).filter(has_text="stamps").click()
        page.reload()
        assert tab.troubles == []
        rows(page).filter(has_text="stamps").click()
        page.keyboard.press("x")
        expect(page.get_by_role("region", name="To be erased")).to_be_visible()
        expect_warning(page)
    assert server.texts("leaver").total() == 1


def test_leaving_warns_of_what_is_not_saved(browser: Browser, server: Proxy) -> None:
    """For as long as there is something that it could be saved into."""
    shelf = Shelf("typist")
    shelf.say("c1", 3, "I collect stamps.")
    shelf.store(server)
    with open_tab(browser, server, expected=["dialog"]) as tab:
        page = tab.open_user("typist")
        stamps = rows(page).filter(has_text="stamps")
        stamps.click()
        page.keyboard.press("e")
        page.get_by_role("textbox", name="Text of the memory").fill("I collect coins.")
        expect_warning(page)
        stamps.click()
        page.keyboard.press("x")
        page.get_by_role("button", name="Erase now").click()
        expect(page.get_by_text("1 memory erased for good.")).to_be_visible()
        page.reload()
        assert len(tab.troubles) == 1


def test_a_user_is_erased_by_name(server: Proxy, tab: Tab) -> None:
    """Only who types the id can; the receipt is shown."""
    shelf = Shelf("goner")
    shelf.say("c1", 3, "I am leaving.", "Goodbye.")
    shelf.store(server)
    page = tab.open_user("goner")
    page.get_by_role("button", name="Erase user …").click()
    erase = page.get_by_role("button", name="Erase this user")
    expect(erase).to_be_disabled()
    page.get_by_label("Type the id to confirm").fill("gone")
    expect(erase).to_be_disabled()
    page.get_by_label("Type the id to confirm").fill("goner")
    erase.click()
    receipt = page.get_by_role("dialog", name="Receipt")
    expect(receipt).to_contain_text(re.compile(r"Memories erased\s*2"))
    expect(page).to_have_url(re.compile("#/users"))
    assert server.memories("goner") == []


def test_what_would_be_injected(server: Proxy, tab: Tab) -> None:
    """The block to the letter, what it takes of the budget, and the memories that are in it."""
    page = tab.open_user(MAYA)
    page.get_by_role("link", name="What would be injected").click()
    page.get_by_role("textbox", name="What the user says").fill("What food is safe for Biscuit?")
    page.get_by_label("Budget, in tokens").fill("300")
    page.get_by_role("button", name="Recall").click()
    expect(page.locator(".injected")).to_contain_text("of 300 tokens")
    expect(page.locator(".injected .tag")).to_have_text("injected")
    asked = {"query": "What food is safe for Biscuit?", "budget_tokens": 300}
    answer = server.call("POST", f"/memory/users/{MAYA}/recall", json=asked).json()
    assert page.locator("pre.block").inner_text() == answer["block"]
    expect(rows(page).first).to_be_visible()
    rows(page).filter(has_text="allergic").first.click()
    expect(detail(page).locator(".why")).to_be_visible()
    page.get_by_role("textbox", name="What the user says").fill("hi")
    page.keyboard.press("Enter")
    expect(page.locator(".injected .tag")).to_have_text("empty")


def test_a_chat_arrives_live(server: Proxy, tab: Tab) -> None:
    """As it ends, with what was recalled for it and the block as upstream saw it; paused, it waits."""
    shelf = Shelf("talker")
    shelf.say("c1", 30, "My favourite cheese is Gouda, and my cat is called Minka.")
    shelf.store(server)
    page = tab.open("/live")
    expect(page.locator(".connection")).to_contain_text("Live")
    assert "Minka" in chat(server, "talker", "What is my cat called?")
    arrived = rows(page).filter(has_text="talker").first
    expect(arrived).to_contain_text("injected")
    arrived.click()
    expect(detail(page).locator("pre.block")).to_contain_text("my cat is called Minka")
    assert detail(page).locator("pre.block").inner_text().startswith("<memory>\n")
    expect(detail(page).locator(".recalled")).to_contain_text("My favourite cheese is Gouda")
    expect(detail(page)).to_contain_text("What is my cat called?")
    expect(detail(page)).to_contain_text("Until the first token")
    page.get_by_role("button", name="Pause").click()
    chat(server, None, "Who am I?")
    expect(page.get_by_role("button", name="Resume (1 new)")).to_be_visible()
    expect(rows(page).first).to_contain_text("talker")
    page.keyboard.press("p")
    expect(rows(page).first).to_contain_text("nobody")
    page.get_by_label("What memory did").select_option("anonymous")
    expect(rows(page).filter(has_text="talker")).to_have_count(0)
    page.get_by_label("What memory did").select_option("")
    page.get_by_role("searchbox").fill("TALK")
    expect(rows(page).filter(has_text="nobody")).to_have_count(0)
    detail(page).locator(".recalled").get_by_role("link").first.click()
    expect(detail(page).locator(".said")).to_contain_text("my cat is called Minka")


def test_what_came_while_away_is_not_missed(browser: Browser, server: Proxy) -> None:
    """A stream that breaks is opened again, from where it was; the page says so meanwhile."""
    with open_tab(browser, server, expected=["Failed to load resource"]) as tab:
        page = tab.page
        page.route("**/traces/stream", lambda route: route.abort())
        tab.open("/live")
        expect(page.locator(".connection")).to_contain_text("No connection, trying again in")
        chat(server, "away", "I said this while nobody listened.")
        page.unroute("**/traces/stream")
        page.get_by_role("button", name="Now").click()
        expect(rows(page).filter(has_text="away")).to_be_visible()
        expect(page.locator(".connection")).to_contain_text("Live")


def test_the_page_says_that_it_is_offline(browser: Browser, server: Proxy) -> None:
    """And goes on when it is not."""
    with open_tab(browser, server, expected=["Failed to load resource"]) as tab:
        page = tab.open_user(MAYA)
        expect(rows(page).first).to_be_visible()
        page.context.set_offline(True)
        page.get_by_role("link", name="Journal").click()
        expect(page.get_by_text("The proxy does not answer. What is shown may be old.")).to_be_visible()
        page.context.set_offline(False)
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_text("Nothing is set aside")).to_be_visible()
        expect(page.get_by_text("What is shown may be old.")).to_be_hidden()
        expect(page.get_by_role("button", name="Ready")).to_be_visible()


def test_charts_can_be_read(server: Proxy, tab: Tab) -> None:
    """With a pointer, with keys, and as a table; a user's leads to the memories of a bar."""
    sample: dict[str, object] = {
        "at": "2026-03-01T10:00:00Z",
        "codes": {"200": 7, "503": 1},
        "memory": {"injected": 5, "empty": 3},
    }
    sample |= {"recall_p50_ms": 1.25, "recall_p99_ms": 7.5, "first_token_p50_ms": 320.0, "first_token_p99_ms": None}
    sample |= {"block_tokens": 420.0, "prompt_tokens": 4000, "cached_tokens": 3000, "memories": 1200}
    sample |= {"journal_pending": 2, "journal_extracting": 0, "journal_failed": 1}
    later = {**sample, "at": "2026-03-01T10:00:10Z", "recall_p50_ms": 2.5, "codes": {"200": 9}}
    page = tab.page
    page.route("**/memory/history", lambda route: route.fulfill(json={"every_s": 10, "samples": [sample, later]}))
    tab.open("/charts")
    recall = page.get_by_role("region", name="Recall", exact=True)
    expect(recall.locator(".legend")).to_contain_text("2.50 ms")
    recall.locator(".plot").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(recall.locator(".legend")).to_contain_text("1.25 ms")
    codes = page.get_by_role("region", name="Status codes", exact=True)
    expect(codes.locator(".legend")).to_have_text(re.compile(r"2xx\s*7\s*5xx\s*1"))
    expect(page.get_by_role("region", name="Cached prompt tokens").locator(".legend")).to_contain_text("75")
    codes.get_by_role("button", name="Status codes as a table").click()
    assert codes.locator("tbody tr").all_inner_texts() == ["10:00:10\t9\t0", "10:00:00\t7\t1"]
    page.unroute("**/memory/history")
    tab.open_user(MAYA, "time", by="month")
    plot = page.locator(".plot")
    expect(page.locator(".bar").first).to_be_visible()
    plot.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_label("From")).to_have_value(re.compile("-01$"))


def test_the_journal_names_what_was_set_aside(tab: Tab) -> None:
    """With the reason; and all of it can be tried again, or given up."""
    entry: dict[str, object] = {
        "seq": 7,
        "user_id": "ada",
        "stage": "store",
        "attempts": 10,
        "created_at": "2026-03-01T10:00:00Z",
    }
    entry["reason"] = "OperationalError: disk full"
    failing = {
        "pending": 3,
        "extracting": 0,
        "failed": 1,
        "oldest_age_s": 12.5,
        "trouble": "disk full",
        "entries": [{**entry, "attempts": 10}],
    }
    asked: list[tuple[str, str]] = []
    page = tab.page
    page.route("**/memory/journal?*", lambda route: route.fulfill(json=failing))
    page.on("request", lambda request: asked.append((request.method, urlsplit(request.url).path)))
    tab.open("/journal")
    row = page.get_by_role("row").filter(has_text="ada")
    expect(row).to_contain_text("OperationalError: disk full")
    expect(page.get_by_role("alert").filter(has_text="Storing fails at present")).to_be_visible()
    page.get_by_role("button", name="Try all again").click()
    expect(page.get_by_text("0 exchanges are tried again.")).to_be_visible()
    page.get_by_role("button", name="Give all up").click()
    asking = page.get_by_role("dialog", name="Give all up")
    expect(asking).to_contain_text("What was said in 1 exchange will never be remembered.")
    asking.get_by_role("button", name="Give up for good").click()
    expect(page.get_by_text("0 exchanges are given up.")).to_be_visible()
    expect(asking).to_have_count(0)
    assert [one for one in asked if one[0] != "GET"] == [
        ("POST", "/memory/journal/retry"),
        ("DELETE", "/memory/journal"),
    ]


def test_an_export_is_saved(tab: Tab) -> None:
    """With the token, which a link could not send: so by way of the page."""
    page = tab.open_user(MAYA)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export").click()
    assert saved.value.suggested_filename == "memories-maya.okafor@northwind.example.jsonl"
    lines = [json.loads(line) for line in Path(saved.value.path()).read_text("utf-8").splitlines()]
    assert len(lines) == 21
    assert {line["user_id"] for line in lines} == {MAYA}


def test_all_can_be_done_with_keys(server: Proxy, tab: Tab) -> None:
    """From the search to a memory, through the list, and back; what has the focus is seen."""
    page = tab.open()
    expect(rows(page).first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type(MAYA)
    page.keyboard.press("Enter")
    expect(rows(page).filter(has_text="our new flat")).to_be_visible()
    page.keyboard.press("j")
    expect(page.locator(".vrow:focus")).to_contain_text("our new flat")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".vrow:focus")).to_contain_text("Maya lives in Porto")
    page.keyboard.press("j")
    expect(page.locator(".vrow:focus")).to_contain_text("Congratulations")
    page.keyboard.press("k")
    page.keyboard.press("k")
    outline = page.locator(".vrow:focus").evaluate("(row) => getComputedStyle(row).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(detail(page).locator(".said")).to_contain_text("our new flat")
    page.keyboard.press("Escape")
    expect(detail(page)).to_have_count(0)
    expect(page.locator(".vrow:focus")).to_contain_text("our new flat")
    page.keyboard.press("End")
    expect(page.locator(".vrow:focus")).to_contain_text("Salmon or lamb")
    page.keyboard.press("g")
    page.keyboard.press("l")
    expect(page.get_by_role("heading", level=1)).to_have_text("Live")
    expect(page.locator("h1")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.get_by_label("Keys of one letter do something").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_have_count(0)
    page.reload()
    expect(page.locator("h1")).to_have_text("Live")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_button(browser: Browser, server: Proxy, scheme: str) -> None:
    """And stay as they were chosen."""
    ground = "getComputedStyle(document.body).backgroundColor"
    with open_tab(browser, server, color_scheme=scheme) as tab:
        page = tab.open()
        expect(rows(page).first).to_be_visible()
        before = page.evaluate(ground)
        page.get_by_role("button", name="Light colours" if scheme == "dark" else "Dark colours").click()
        after = page.evaluate(ground)
        assert {before, after} == {"rgb(246, 247, 248)", "rgb(15, 19, 22)"}
        page.reload()
        assert page.evaluate(ground) == after


VIEWS = [
    *("/users", "/live", "/charts", "/journal", f"/user/{MAYA}", f"/user/{MAYA}?view=table", f"/user/{MAYA}/time"),
    f"/user/{MAYA}/search?q=What is my dog allergic to?",
    f"/user/{MAYA}/injection?q=What is my dog allergic to?",
    *("/users?search=nobody", "/user/nobody", "/nowhere", "/user/hostile", "/user/hostile?view=table"),
]


def test_nothing_overflows_a_narrow_screen(browser: Browser, server: Proxy) -> None:
    """Nor any of the details, which are in front of the list there."""
    tell_of_the_hostile().store(server)
    with open_tab(browser, server, size=NARROW) as tab:
        for view in VIEWS:
            page = tab.open(view)
            expect(page.locator("main")).not_to_be_empty()
            expect(page.locator(".loading")).to_have_count(0)
            assert not page.evaluate(OVERFLOWING), view
        tab.open_user(MAYA)
        rows(tab.page).filter(has_text="Maya lives in Porto").click()
        expect(tab.page.get_by_role("dialog").locator(".chain")).to_be_visible()
        assert not tab.page.evaluate(OVERFLOWING)
        tab.page.context.grant_permissions(["clipboard-write"])
        tab.page.get_by_role("button", name="Copy the id").click()
        expect(tab.page.get_by_role("dialog").get_by_text("Id copied.")).to_be_visible()
        tab.page.keyboard.press("Escape")
        expect(tab.page.get_by_role("dialog")).to_have_count(0)


HOSTILE = [
    "<script>window.__owned = 1</script>",
    '<img src=x onerror="window.__owned = 2">',
    "</script><script>window.__owned = 3</script>",
    "[click me](javascript:window.__owned=4) javascript:window.__owned=5",
    "{{constructor.constructor('window.__owned=6')()}} ${window.__owned=7} <%= window.__owned=8 %>",
    "<svg/onload=window.__owned=9><iframe srcdoc='<script>parent.__owned=10</script>'>",
    "'\"><style>*{display:none}</style><!--",
    "\u202eright to left \u2066isolated\u2069 \u200b \x00 \x07 \x1b[31mred \U000e0069\U000e0067\U000e006e",
    "W" * 5000,
    "line\n\n\n\tand tab\r\nand return " + "e" + "\u0301" * 40,
    "שלום hello مرحبا (mixed) 日本語テキスト",
]


def tell_of_the_hostile() -> Shelf:
    """Texts, names and ids that try to be more than text."""
    shelf = Shelf("hostile")
    shelf.say("<b>conversation</b>", 2, *HOSTILE)
    shelf.know(("<b>conversation</b>", 0), 1, HOSTILE[0], HOSTILE[1])
    return shelf


def test_what_was_said_never_runs(server: Proxy, tab: Tab) -> None:
    """In no view: not as a memory, a quote, an id, a model or a conversation. What cannot be seen is spelt out."""
    tell_of_the_hostile().store(server)
    shelf = Shelf('<img src=x onerror="window.__owned=11">')
    shelf.say(HOSTILE[2], 1, HOSTILE[0])
    shelf.store(server)
    page = tab.open("/users?search=<img")
    rows(page).filter(has_text="<img").click()
    expect(page.locator("h1")).to_contain_text('<img src=x onerror="window.__owned=11">')
    expect(rows(page).filter(has_text=HOSTILE[0])).to_be_visible()
    tab.open_user("hostile")
    for text in HOSTILE[:7]:
        row = rows(page).filter(has_text=text).last
        row.click()
        expect(detail(page).locator(".said")).to_have_text(text)
    rows(page).filter(has_text="right to left").click()
    spelt = detail(page).locator(".said .unseen").all_inner_texts()
    assert spelt[:3] == ["U+202E", "U+2066", "U+2069"]
    assert {"U+0000", "U+001B", "U+E0069 U+E0067 U+E006E"} <= set(spelt)
    tab.open_user("hostile", view="table")
    expect(rows(page).first).to_be_visible()
    tab.open_user("hostile", "search", q="script window owned click mixed")
    expect(rows(page).first).to_be_visible()
    tab.open_user("hostile", "injection", q="script window owned click mixed")
    expect(page.locator("pre.block")).to_be_visible()
    with make_client(server, "hostile", X_Conversation_Id="<script>window.__owned=12</script>") as client:
        client.chat.completions.create(
            model="<img src=x onerror=window.__owned=13>", messages=[{"role": "user", "content": HOSTILE[5] + "?"}]
        )
    tab.open("/live")
    rows(page).filter(has_text="hostile").first.click()
    expect(detail(page)).to_contain_text("<script>window.__owned=12</script>")
    assert page.locator("main script, main iframe, main img, main style, main svg [onload]").count() == 0


def test_the_page_is_light(browser: Browser, server: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it together, as the browser counts; the second time nothing of it is sent."""
    sizes = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
      .filter((entry) => entry.name.includes("/ui"))
      .map((entry) => [entry.name, entry.transferSize, entry.decodedBodySize])"""
    with open_tab(browser, server) as tab:
        page = tab.open()
        expect(rows(page).first).to_be_visible()
        loaded = page.evaluate(sizes)
        paint_ms = page.evaluate("performance.getEntriesByName('first-paint')[0].startTime")
        sent, total = (sum(sizes[place] for sizes in loaded) for place in (1, 2))
        assert len(loaded) > 20
        assert sent < total / 2
        assert total <= 200_000
        page.reload()
        expect(rows(page).first).to_be_visible()
        again = sum(size for _, size, _ in page.evaluate(sizes))
        assert again < sent / 5
    with capsys.disabled():
        sent_kb = f"{total / 1000:.0f} kB, sent as {sent / 1000:.0f}, then as {again / 1000:.0f}"
        sys.stdout.write(f"\nfirst paint {paint_ms:.0f} ms, {sent_kb} ")


def test_the_picture_of_the_readme(browser: Browser, server: Proxy, tmp_path: Path) -> None:
    """It is made here, and anew with MEMORY_PROXY_PICTURE=deploy/inspector.png."""
    path = Path(PICTURE or tmp_path / "inspector.png")
    question = "What is my dog allergic to?"
    server.call("POST", f"/memory/users/{MAYA}/search", json={"query": question}).raise_for_status()
    with open_tab(browser, server, size=(1280, 720)) as tab:
        page = tab.open_user(MAYA, "search", q=question)
        rows(page).filter(has_text="Maya's beagle").click()
        expect(detail(page).locator(".chain")).to_be_visible()
        page.mouse.move(640, 24)
        page.screenshot(path=path)
    assert path.stat().st_size < 200_000
