"""The inspector for who has a token, who has one to look only, and who has none; and where there are tenants."""

import re
from collections.abc import Iterator
from hashlib import sha256

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import WAIT_MS, Shelf, Tab, needs_chromium, open_tab, running_browser, store, write_config
from tests.processes import Proxy

pytestmark = needs_chromium
expect.set_options(timeout=WAIT_MS)

TOKEN, READ_TOKEN = "s3cret%20token", "to-look-only"
NOWHERE = "http://127.0.0.1:9"
CONFIG = f"""
admin: {{token: "{TOKEN}", read_token: "{READ_TOKEN}"}}
embedding: {{provider: none}}
clients:
  - {{name: shop, key_sha256: "{sha256(b"shop-key").hexdigest()}"}}
  - {{name: help, key_sha256: "{sha256(b"help-key").hexdigest()}"}}
"""
# What a browser says of an answer that is no 2xx.
REFUSED = "Failed to load resource: the server responded with a status of 4"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with tokens and two tenants, who have a user of the same id."""
    folder = tmp_path_factory.mktemp("access")
    with Proxy(folder / "data", NOWHERE, *write_config(folder / "config.yaml", CONFIG)) as proxy:
        proxy.wait_ready()
        for tenant, text in (("shop", "I bought a kettle."), ("help", "My kettle is broken.")):
            shelf = Shelf("ada")
            (old, *_) = shelf.say("c1", 3, f"{text} Twice.")
            (new, *_) = shelf.say("c2", 2, text, "Noted.")
            shelf.replace(old, new)
            store(proxy, shelf.lines, {"Authorization": f"Bearer {TOKEN}"}, tenant)
        yield proxy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The one browser of the module."""
    with running_browser() as started:
        yield started


@pytest.fixture
def tab(browser: Browser, server: Proxy) -> Iterator[Tab]:
    """A window in which the browser may say that it was refused something, and nothing else."""
    with open_tab(browser, server, expected=[REFUSED]) as opened:
        yield opened


def enter(page: Page, token: str) -> None:
    """What a person does who is asked for the token."""
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Open").click()


def test_the_token_is_asked_for(tab: Tab) -> None:
    """A wrong one, and what can be in no header, is told to be wrong; the right one opens what was asked for, and is
    kept in the tab alone.
    """
    page = tab.open("/user/ada?tenant=help")
    expect(page.get_by_role("heading", name="Token")).to_be_visible()
    expect(page.get_by_label("Token")).to_be_focused()
    for wrong in ("wrong", "wröng ☃"):
        enter(page, wrong)
        expect(page.get_by_role("alert").filter(has_text="This is not the token.")).to_be_visible()
    enter(page, TOKEN)
    expect(page.locator(".message").filter(has_text="My kettle is broken.")).to_be_visible()
    assert page.evaluate("JSON.stringify(localStorage)") == "{}"
    page.reload()
    expect(page.locator(".message").filter(has_text="My kettle is broken.")).to_be_visible()


def test_a_link_may_bring_the_token(tab: Tab) -> None:
    """It leaves the address at once."""
    page = tab.open("token=s3cret%2520token")
    expect(page.get_by_role("heading", name="Users")).to_be_visible()
    expect(page.locator(".user-id").first).to_have_text("ada")
    assert "s3cret" not in page.url
    assert "s3cret" not in page.evaluate("JSON.stringify(history.state) + document.documentElement.outerHTML")


def test_a_token_that_is_no_longer_right_is_asked_for(tab: Tab) -> None:
    """In the midst of it, at the first answer that says so; and then one goes on where one was."""
    page = tab.open("token=s3cret%2520token")
    expect(page.locator(".user-id").first).to_have_text("ada")
    page.evaluate("sessionStorage.setItem('memory-proxy.token', 'revoked')")
    page.get_by_role("link", name="Journal").click()
    expect(page.get_by_role("heading", name="Token")).to_be_visible()
    enter(page, TOKEN)
    expect(page.get_by_text("Nothing is set aside")).to_be_visible()


def test_tenants_are_told_apart(tab: Tab) -> None:
    """The same id is somebody else's; one of them can be chosen."""
    page = tab.open("token=s3cret%2520token")
    expect(page.locator(".vrow")).to_have_count(2)
    page.get_by_label("Tenant").select_option("shop")
    expect(page.locator(".vrow")).to_have_count(1)
    expect(page).to_have_url(re.compile("tenant=shop"))
    page.locator(".vrow").click()
    expect(page.locator("h1 .tag")).to_have_text("shop")
    expect(page.locator(".message").filter(has_text="I bought a kettle.")).to_be_visible()
    expect(page.get_by_text("My kettle is broken.")).to_have_count(0)


def test_who_may_only_look_is_offered_nothing_else(tab: Tab) -> None:
    """And is told so. Keys change nothing, either; a search is no change."""
    changes: list[str] = []
    page = tab.page
    page.on(
        "request", lambda request: changes.append(request.method) if request.method in ("PATCH", "DELETE") else None
    )
    tab.open(f"token={READ_TOKEN}")
    expect(page.locator("#read-only")).to_be_visible()
    page.get_by_label("Tenant").select_option("shop")
    expect(page.locator(".vrow")).to_have_count(1)
    page.locator(".vrow").click()
    expect(page.locator(".user-head").get_by_text("Read only")).to_be_visible()
    page.locator(".message").filter(has_text="I bought a kettle.").click()
    expect(page.locator(".detail .chain li")).to_have_count(2)
    for key in ("x", "e", "a"):
        page.keyboard.press(key)
    for name in ("Edit", "Erase", "Restore", "Add memory", "Erase user …", "Erase now", "Save"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.get_by_role("button", name="Export")).to_be_visible()
    page.get_by_role("link", name="Search").click()
    page.get_by_role("searchbox").fill("kettle")
    expect(page.locator(".result").first).to_contain_text("I bought a kettle.")
    assert changes == []


def test_who_guesses_is_told_to_wait(tab: Tab) -> None:
    """As long as the proxy says. The last test here: nobody at this address gets in for a minute."""
    page = tab.open()
    for number in range(12):
        expect(page.get_by_label("Token")).to_be_focused()
        if page.get_by_text("Too many wrong tokens").count():
            break
        with page.expect_response("**/memory/access"):
            enter(page, f"guess-{number}")
    expect(page.get_by_role("alert").filter(has_text=re.compile(r"Try again in \d+ seconds"))).to_be_visible()
