"""Which chart is drawn how."""

from collections.abc import Callable, Mapping
from typing import Final
from xml.etree.ElementTree import Element, indent, tostring

from proxy.reporting.bars import draw_bars, draw_timeline
from proxy.reporting.charts import Bars, Chart, Lines, Spreads, Stacks, Strips, Timeline, Whiskers
from proxy.reporting.lines import draw_lines, draw_spreads
from proxy.reporting.rows import draw_stacks, draw_strips, draw_whiskers

_WAYS: Final[Mapping[type[Chart], Callable[..., Element]]] = {
    Lines: draw_lines,
    Spreads: draw_spreads,
    Strips: draw_strips,
    Whiskers: draw_whiskers,
    Stacks: draw_stacks,
    Bars: draw_bars,
    Timeline: draw_timeline,
}


def draw(chart: Chart, *, standalone: bool = False) -> Element:
    """The picture: part of a page that has the style sheet of charts, or a file of its own.

    ValueError if the chart has nothing to show.
    """
    return _WAYS[type(chart)](chart, standalone=standalone)


def write_svg(chart: Chart) -> str:
    """The text of a file."""
    svg = draw(chart, standalone=True)
    indent(svg)
    return tostring(svg, "unicode") + "\n"
