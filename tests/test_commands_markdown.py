"""Stored texts in Markdown: shown as they were said, and nothing that a chat's window would act on."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from proxy.edge.markdown import quote

# What readers of Markdown act on, unless a backslash precedes it.
ACTIVE = re.compile(r"(?<!\\)(?:\\\\)*[`*_\[\]<>&~$|]")


def reading(quoted: str) -> str:
    """*quoted* as somebody reads it: without backslashes, and without what has no width."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", quoted).replace("\u2060", "")


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://evil.example/a.png?q=1)",
        "[click](javascript:alert(1))",
        "<img src=x onerror=alert(1)>",
        "<https://evil.example>",
        "&lt;b&gt; and $x$ and `code` and ~~gone~~",
        "**bold** __init__ snake_case a\\*b \\![x](y)",
        "| a | b |",
        "plain words, with 3.14 and a full stop.",
    ],
)
def test_what_is_active_is_escaped(text: str) -> None:
    """Every character that begins something has a backslash, and without these the text is the same."""
    quoted = quote(text, limit=500)
    assert not ACTIVE.search(quoted)
    assert reading(quoted) == text


@pytest.mark.parametrize(
    "text", ["https://evil.example/x", "see www.evil.example", "//evil.example", "HTTP://a//b", "WWW.Evil.example"]
)
def test_addresses_are_no_links(text: str) -> None:
    """Also for readers that undo backslashes before they look for addresses."""
    undone = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", quote(text, limit=500))
    assert "//" not in undone
    assert not re.search(r"www\.", undone, re.IGNORECASE)
    assert r"\.e" in quote("evil.example", limit=500)


def test_sentences_stay_as_they_are() -> None:
    """Plain prose has no backslash in it."""
    text = "My dog, Biscuit (a beagle), is 3.5 years old: she eats carrots! 100% - #1? 'Yes.'"
    assert quote(text, limit=500) == text


def test_one_line() -> None:
    """Lines, tabs and what cannot be seen become spaces: nothing begins a block, and nothing is hidden."""
    assert quote("One\n\n# Two\r\n- three\u202e\u200b\x1b[31m", limit=500) == r"One # Two - three \[31m"


def test_a_long_text_is_cut() -> None:
    """With an ellipsis, and never within an escape."""
    assert quote("a" * 100, limit=10) == "a" * 10 + "…"
    assert quote("[" * 100, limit=10) == r"\[" * 10 + "…"
    assert quote("word " * 10_000, limit=8) == "word wor…"
    assert quote(" " * 100 + "end", limit=10) == "…"


def test_other_scripts_are_whole() -> None:
    """Joiners that writing needs stay."""
    for text in ("می\u200cخواهم", "👩\u200d👩\u200d👧", "犬の名前はビスケット。", "Größe"):
        assert quote(text, limit=100) == text


MARKS = st.text(st.sampled_from("\\`*_[]()<>&~$|!#-./:; \nab"), max_size=60)


@given(st.text(max_size=200) | MARKS)
def test_nothing_active_in_anything(text: str) -> None:
    """Whatever the text, it is one line, which a reader of Markdown takes for a paragraph of nothing but words."""
    quoted = quote(text, limit=100)
    assert "\n" not in quoted
    assert "//" not in quoted
    assert not ACTIVE.search(quoted)
    reader = MarkdownIt("commonmark").enable(["strikethrough", "table"])
    opening, inline, closing = reader.parse(f"2024-03-01, {quoted} (`id`)")
    assert (opening.type, closing.type) == ("paragraph_open", "paragraph_close")
    kinds = [token.type for token in inline.children or ()]
    assert kinds == ["text", "code_inline", "text"]
