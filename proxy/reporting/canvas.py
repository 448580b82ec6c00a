"""SVG by elements: no script, no font, no other file, for light and dark pages.

Own code, because no library at hand draws what is shown here: pygal 3.1 writes a script into every chart and knows
whiskers only, leather 0.4 has no intervals, and what draws bands well (matplotlib, Altair) brings tens of megabytes.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, SubElement

# Own names are short; those of a data set's question types may be anything.
LONGEST_NAME: Final = 44
# About the widest that usual fonts have on average, of 13 pixels and of 12.
CHARACTER: Final = 7.4
SMALL_CHARACTER: Final = 6.7

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Palette(NamedTuple):
    """Colours of one scheme. *lines*: Okabe and Ito's, which colour-blind readers tell apart, made darker or lighter
    until they stand out from *paper*.
    """

    paper: str
    ink: str
    soft: str
    grid: str
    good: str
    bad: str
    lines: Sequence[str]


LIGHT: Final = Palette(
    paper="#ffffff",
    ink="#1f2328",
    soft="#59636e",
    grid="#d9dee4",
    good="#116329",
    bad="#a40e26",
    lines=("#0072b2", "#c44e00", "#007a5a", "#a8508a", "#8a6d00", "#7d5230", "#b3203a", "#7a3fb5"),
)
DARK: Final = Palette(
    paper="#0d1117",
    ink="#f0f6fc",
    soft="#9198a1",
    grid="#2d333b",
    good="#56d364",
    bad="#ff7b72",
    lines=("#4fb3f0", "#ff8a4c", "#2fc79a", "#e59ccb", "#e6c229", "#c9a27e", "#ff7b8a", "#bb94ee"),
)
_DASHES: Final = ("", "7 4", "2 4")  # for the second and third eight


class Look(NamedTuple):
    """How a series is told from others: its class in the style sheet, and its dashes."""

    style: str
    dash: str = ""


HEAVY: Final = Look("heavy")


def list_looks(names: Iterable[str], emphasis: str | None = None) -> dict[str, Look]:
    """A look for each name, by its place; of more than 24 some look alike."""
    looks = {}
    for number, name in enumerate(names):
        turn, colour = divmod(number, len(LIGHT.lines))
        looks[name] = HEAVY if name == emphasis else Look(f"c{colour}", _DASHES[turn % len(_DASHES)])
    return looks


def make_svg(title: str, width: float, height: float, *, standalone: bool) -> Element:
    """An empty picture. One that is a file of its own brings its style, its title and its paper along."""
    svg = Element("svg", xmlns="http://www.w3.org/2000/svg", role="img", viewBox=f"0 0 {width:g} {height:g}")
    if standalone:
        add(svg, "title", title)
        add(svg, "style", write_rules())
        add(svg, "rect", width=width, height=height, rx=6, class_="paper")
        add(svg, "text", title, x=20, y=30, class_="title")
    else:
        svg.set("aria-label", clean(title))
    return svg


def write_rules() -> str:
    """The style sheet of all charts."""
    # Rules and no custom properties: librsvg and Inkscape do not know those, and skip the dark half as a whole.
    # On paper there is no dark scheme, whatever the screen has.
    return f"""
svg text {{ font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }}
svg .title {{ font-size: 17px; font-weight: 600; }}
svg .small {{ font-size: 12px; }}
svg .line {{ fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }}
svg .line.heavy {{ stroke-width: 3.2; }}
svg .name.heavy {{ font-weight: 700; }}
svg .band {{ stroke: none; fill-opacity: .07; }}
svg .band.heavy {{ fill-opacity: .16; }}
svg .lead {{ fill: none; stroke-width: 1; stroke-opacity: .5; }}
svg .bound {{ fill: none; stroke-width: 1.4; stroke-dasharray: 5 4; }}
svg .faint {{ fill-opacity: .5; }}
{_write_colours(LIGHT)}
@media screen and (prefers-color-scheme: dark) {{
{_write_colours(DARK)}
}}
"""


def _write_colours(palette: Palette) -> str:
    numbered = (
        f"svg .line.c{i}, svg .lead.c{i} {{ stroke: {colour}; }} svg .band.c{i}, svg .dot.c{i} {{ fill: {colour}; }}"
        for i, colour in enumerate(palette.lines)
    )
    common = (
        f"svg .paper {{ fill: {palette.paper}; }} svg text {{ fill: {palette.ink}; }} "
        f"svg text.soft {{ fill: {palette.soft}; }} svg text.inside {{ fill: {palette.paper}; }} "
        f"svg .grid {{ stroke: {palette.grid}; }} "
        f"svg .axis, svg .bound {{ stroke: {palette.soft}; }} svg .rim {{ stroke: {palette.paper}; }}"
    )
    heavy = (
        f"svg .line.heavy, svg .lead.heavy {{ stroke: {palette.ink}; }} "
        f"svg .band.heavy, svg .dot.heavy {{ fill: {palette.ink}; }}"
    )
    return "\n".join((common, *numbered, heavy))


def write_path(places: Iterable[tuple[float, float]]) -> str:
    """A line from place to place."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in places)


def add(parent: Element, tag: str, text: str | None = None, **attributes: str | float) -> Element:
    """A child with *text*. An attribute's ``_`` is written as ``-``, none at its end; an empty one is left out."""
    written = {
        name.rstrip("_").replace("_", "-"): value if isinstance(value, str) else f"{value:.6g}"
        for name, value in attributes.items()
        if value != ""
    }
    child = SubElement(parent, tag, written)
    child.text = None if text is None else clean(text)
    return child


def add_name(parent: Element, name: str, **attributes: str | float) -> None:
    """A name as it fits; of one that is cut, the whole is told when it is pointed at."""
    if (shown := shorten(name)) == name:
        add(parent, "text", name, **attributes)
        return
    add(add(parent, "text", None, **attributes), "title", name).tail = clean(shown)


def clean(text: str) -> str:
    """*text* with a mark in place of what no XML can hold."""
    return _NO_XML.sub("\ufffd", text)


def shorten(name: str) -> str:
    """*name* as it fits beside a chart."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
