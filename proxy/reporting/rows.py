"""Charts of rows, one a kind: dots of rounds, means with their intervals, and wholes in parts."""

from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np

from proxy.reporting.canvas import CHARACTER, Look, add, add_name, list_looks, make_svg, shorten
from proxy.reporting.charts import Axis, Bound, Interval, Stacks, Strips, Whiskers, tell_interval
from proxy.reporting.frame import BELOW, TITLE, TOP, USUAL, Frame, draw_columns, draw_legend, draw_x_axis
from proxy.reporting.scales import Scale, fit

_LEAST: Final = 270  # of what rows are drawn in
_ROW: Final = 34  # of one line
_LANE: Final = 18  # of each further series
_RIGHT: Final = 24
_LEGEND: Final = 24
_PLAIN: Final = Look("c0")
_SHARE: Final = Axis(label="share", is_share=True)
_NARROW: Final = 34  # of a part that has no room for its number


def draw_strips(chart: Strips, *, standalone: bool = False) -> Element:
    """Dots of rounds, and a mark at their median. ValueError if there is no row."""
    bounds = [bound.value for some in chart.bounds.values() for bound in some]
    values = [value for row in chart.rows.values() for value in row]
    svg, frame = _start(chart.title, chart.rows, chart.x, [*values, *bounds], _ROW, standalone=standalone)
    draw_x_axis(svg, frame, chart.x.title)
    for place, (name, row) in zip(_list_places(frame, len(chart.rows)), chart.rows.items(), strict=True):
        for bound in chart.bounds.get(name, ()):
            _draw_bound(svg, frame, bound, place, chart.x)
        for value in row:
            dot = add(svg, "circle", cx=frame.x.place(value), cy=place, r=4, class_="dot faint c0")
            add(dot, "title", f"{name}: {chart.x.tell(value)}")
        median = float(np.median(row))
        mark = add(svg, "path", d=f"M{frame.x.place(median):.1f},{place - 11:.1f}v22", class_="line heavy")
        add(mark, "title", f"{name}, median: {chart.x.tell(median)}")
    return svg


def draw_whiskers(chart: Whiskers, *, standalone: bool = False) -> Element:
    """Means, each on the line of its interval. ValueError if there is no row."""
    values = [value for row in chart.rows.values() for interval in row.values() for value in interval]
    looks = list_looks(chart.series)
    height = _ROW + _LANE * (len(looks) - 1)
    legend = len(looks) > 1
    svg, frame = _start(chart.title, chart.rows, chart.x, values, height, standalone=standalone, legend=legend)
    draw_x_axis(svg, frame, chart.x.title)
    if legend:
        draw_legend(svg, looks.items(), (14, frame.top - 26), _draw_dot)
    for place, (name, row) in zip(_list_places(frame, len(chart.rows)), chart.rows.items(), strict=True):
        for number, series in enumerate(looks):
            if series in row:
                y = place + _LANE * (number - (len(looks) - 1) / 2)
                told = f"{name}, {series}" if legend else name
                _draw_whisker(svg, frame, chart.x, row[series], y, looks[series], told)
    return svg


def draw_stacks(chart: Stacks, *, standalone: bool = False) -> Element:
    """Bars of one length, in parts. ValueError if there is no row."""
    looks = list_looks(chart.parts)
    svg, frame = _start(chart.title, chart.rows, _SHARE, (0, 1), _ROW - 6, standalone=standalone, legend=True)
    draw_x_axis(svg, frame, f"share of {chart.x_label}")
    end = draw_legend(svg, looks.items(), (14, frame.top - 26), _draw_dot)
    _widen(svg, end)
    for place, (name, row) in zip(_list_places(frame, len(chart.rows)), chart.rows.items(), strict=True):
        total, before = sum(row.values()), 0
        for part in chart.parts:
            if count := row.get(part, 0):
                edges = frame.x.place(before / total), frame.x.place((before + count) / total)
                _draw_part(svg, edges, place, looks[part], (f"{name}, {part}: {count:,} of {total:,}", f"{count:,}"))
                before += count
    return svg


def _start(
    title: str,
    names: Iterable[str],
    axis: Axis,
    values: Sequence[float],
    height: float,
    *,
    standalone: bool,
    legend: bool = False,
) -> tuple[Element, Frame]:
    """The picture with the names of its rows and its grid. Room for them is as wide as the longest name."""
    rows = list(names)
    if not rows:
        raise ValueError("a chart needs a row")
    left = 14 + CHARACTER * max(len(shorten(name)) for name in rows) + 14
    right = left + max(USUAL - left - _RIGHT, _LEAST)
    top = TOP - 20 + TITLE * standalone + _LEGEND * legend
    bottom = top + height * len(rows)
    x = fit(axis, values, left, right)
    frame = Frame(left, right, top, bottom, x, Scale(lambda value: value, ()))
    svg = make_svg(title, frame.right + _RIGHT, frame.bottom + BELOW, standalone=standalone)
    draw_columns(svg, frame)
    for place, name in zip(_list_places(frame, len(rows)), rows, strict=True):
        add_name(svg, name, x=left - 12, y=place + 4.5, text_anchor="end")
    return svg, frame


def _list_places(frame: Frame, rows: int) -> list[float]:
    """The middle of each row."""
    height = (frame.bottom - frame.top) / rows
    return [frame.top + height * (number + 0.5) for number in range(rows)]


def _draw_bound(svg: Element, frame: Frame, bound: Bound, y: float, axis: Axis) -> None:
    x = frame.x.place(bound.value)
    line = add(svg, "path", d=f"M{x:.1f},{y - 14:.1f}v28", class_="bound")
    add(line, "title", f"{bound.name}: {axis.tell(bound.value)}")
    add(svg, "text", bound.name, x=x + 4, y=y - 5, class_="soft small")


def _draw_whisker(svg: Element, frame: Frame, axis: Axis, interval: Interval, y: float, look: Look, name: str) -> None:
    mean, low, high = (frame.x.place(value) for value in interval)
    add(svg, "path", d=f"M{low:.1f},{y:.1f}H{high:.1f}", class_=f"line {look.style}")
    dot = add(svg, "circle", cx=mean, cy=y, r=5, class_=f"dot {look.style}")
    add(dot, "title", f"{name}: {tell_interval(axis, *interval)}")


def _draw_dot(svg: Element, x: float, y: float, look: Look) -> None:
    add(svg, "circle", cx=x, cy=y, r=5, class_=f"dot {look.style}")


def _draw_part(svg: Element, edges: tuple[float, float], y: float, look: Look, told: tuple[str, str]) -> None:
    first, last = edges
    box = add(
        svg, "rect", x=first, y=y - 9, width=last - first, height=18, stroke_width=1, class_=f"dot rim {look.style}"
    )
    add(box, "title", told[0])
    if last - first >= _NARROW:
        add(svg, "text", told[1], x=(first + last) / 2, y=y + 4.5, text_anchor="middle", class_="inside small")


def _widen(svg: Element, width: float) -> None:
    """A legend may be longer than what it stands above."""
    *corner, usual, height = svg.get("viewBox", "").split()
    svg.set("viewBox", " ".join([*corner, f"{max(float(usual), width):g}", height]))
