"""The inspector in a real browser: Debian's Chromium, driven by Playwright, which waits for what it is asked to see."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

from tests.processes import Proxy

CHROMIUM: Final = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
WAIT_MS: Final = 20_000
WIDE: Final = (1280, 800)
NARROW: Final = (360, 740)
# What the policy has refused is said where errors are said. Nobody's words may set the flag.
_WATCH: Final = """
addEventListener("securitypolicyviolation", (event) => console.error("policy", event.violatedDirective));
"""
OVERFLOWING: Final = """() => {
  const page = document.documentElement;
  return page.scrollWidth > page.clientWidth || page.scrollHeight > page.clientHeight;
}"""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """One for all tests of a module; each has pages of its own."""
    with sync_playwright() as playwright:
        alone = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=alone)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of the inspector, and what went wrong in it."""

    def __init__(self, page: Page, proxy: Proxy) -> None:
        self.page = page
        self.proxy = proxy
        self.troubles: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("dialog", self._refuse)

    def open(self, where: str = "") -> Page:
        """Goes to an address of the page; *where* is what follows the ``#``."""
        self.page.goto(f"{self.proxy.url}/ui#{where}")
        return self.page

    def open_user(self, user: str, tab: str = "", **params: str) -> Page:
        """Goes to a user's view, in full as by a link from elsewhere."""
        query = "&".join(f"{name}={quote(value)}" for name, value in params.items())
        return self.open(f"/user/{quote(user, safe='')}{tab and f'/{tab}'}{query and f'?{query}'}")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)

    def _refuse(self, dialog: Dialog) -> None:
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@contextmanager
def open_tab(
    browser: Browser, proxy: Proxy, *, size: tuple[int, int] = WIDE, expected: Iterable[str] = (), **options: Any
) -> Iterator[Tab]:
    """A tab of a new window, which nothing may go wrong in but what is *expected*, by a part of what is said of it."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale="en-GB", timezone_id="Europe/Lisbon", **options
    )
    context.add_init_script(_WATCH)
    tab = Tab(context.new_page(), proxy)
    try:
        yield tab
        assert tab.page.evaluate("window.__owned") is None
        assert [said for said in tab.troubles if not any(part in said for part in expected)] == []
    finally:
        context.close()


class Shelf:
    """Memories to be imported, written as an export writes them."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.lines: list[dict[str, Any]] = []
        self._now = datetime.now(UTC).replace(microsecond=0)

    def say(self, conversation: str, days_ago: float, *texts: str) -> list[str]:
        """A conversation in which user and assistant take turns; answers the ids of its messages."""
        return [
            self._put(
                conversation,
                days_ago - index / 1440,
                text,
                kind="turn",
                role="assistant" if index % 2 else "user",
                message_index=index,
            )
            for index, text in enumerate(texts)
        ]

    def know(self, source: tuple[str, int], days_ago: float, text: str, quote: str) -> str:
        """A fact that was found in a message; answers its id."""
        return self._put(
            source[0],
            days_ago,
            text,
            kind="fact",
            role="user",
            message_index=source[1],
            sources=[source],
            quote=quote,
            origin="extracted",
        )

    def replace(self, old: str, new: str) -> None:
        """The memory *new* has taken the place of *old*."""
        lines = {line["id"]: line for line in self.lines}
        lines[old] |= {"superseded_by": new, "valid_until": lines[new]["created_at"]}

    def _put(self, conversation: str, days_ago: float, text: str, **more: Any) -> str:
        number = f"{self.user}-{len(self.lines)}"
        at = self._now - timedelta(days=days_ago)
        line = {"id": number, "user_id": self.user, "conversation_id": conversation, "text": text, **more}
        self.lines.append({**line, "created_at": at.isoformat()})
        return number

    def store(self, proxy: Proxy) -> None:
        """Imports them."""
        store(proxy, self.lines)


def store(
    proxy: Proxy, lines: Iterable[object], headers: Mapping[str, str] | None = None, tenant: str | None = None
) -> None:
    """Imports lines of JSON, which all have to be taken."""
    body = "\n".join(json.dumps(line) for line in lines)
    path = "/memory/import" if tenant is None else f"/memory/import?tenant={tenant}"
    report = proxy.call("POST", path, content=body, headers=dict(headers or {})).raise_for_status().json()
    assert report["errors"] == []


def write_config(path: Path, text: str) -> tuple[str, str]:
    """A configuration file, as the option that names it."""
    path.write_text(text, encoding="utf-8")
    return "--config", str(path)
