"""The inspector's files as they are written: few, small, without anything that reads HTML, and legible."""

import re
from pathlib import PurePosixPath

import pytest

from proxy.edge.page import FOLDER, MEDIA

TEXTS = {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in FOLDER.rglob("*") if path.is_file()}
# What may be transferred for all of the page, uncompressed.
MOST_BYTES = 200_000
# By WCAG 2.2, level AA: of text, and of what is drawn.
TEXT, DRAWN = 4.5, 3.0
GROUNDS = ("ground", "surface", "sunk", "accent-soft")
PAIRS = [
    *((text, ground, TEXT) for text in ("text", "soft", "accent") for ground in GROUNDS),
    *((text, ground, TEXT) for text in ("good", "warn", "bad", "fact") for ground in GROUNDS[:3]),
    *((meaning, f"{meaning}-soft", TEXT) for meaning in ("good", "warn", "bad", "accent")),
    ("on-accent", "accent", TEXT),
    ("on-bad", "bad", TEXT),
    ("on-mark", "mark", TEXT),
    ("line-strong", "surface", DRAWN),
    ("line-strong", "ground", DRAWN),
    *((f"c{number}", "surface", DRAWN) for number in range(1, 7)),
]


def test_they_are_few_and_small() -> None:
    """All together, and each of a kind that is served."""
    assert {PurePosixPath(name).suffix for name in TEXTS} == set(MEDIA)
    assert sum(len(text.encode()) for text in TEXTS.values()) <= MOST_BYTES


def test_no_script_is_in_the_page() -> None:
    """The policy would refuse it, and styles and another base, too."""
    assert re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|<style|<base", TEXTS["index.html"]) is None


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_nothing_reads_html_or_asks_other_hosts(name: str) -> None:
    """What somebody has said to a chatbot becomes text and nothing else."""
    text = TEXTS[name].replace("http://www.w3.org/2000/svg", "")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|srcdoc|://"
    assert re.search(forbidden, text) is None


def test_no_name_of_the_style_is_unused() -> None:
    """Nor is one used that there is not."""
    style = TEXTS["style.css"]
    assert set(re.findall(r"^\s+--([\w-]+):", style, re.MULTILINE)) == set(re.findall(r"var\(--([\w-]+)\)", style))


def read_colours(theme: int) -> dict[str, str]:
    """The colours of the light (0) or the dark (1) theme, by name."""
    found = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", TEXTS["style.css"])
    return {name: both[theme] for name, *both in found}


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS, ids=str)
def test_colours_can_be_told_apart(theme: int, front: str, back: str, least: float) -> None:
    """Text on every ground that it stands on, and what is drawn."""
    colours = read_colours(theme)
    low, high = sorted((luminance(colours[front]), luminance(colours[back])))
    assert (high + 0.05) / (low + 0.05) >= least
