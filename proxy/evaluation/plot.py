"""A line chart with confidence bands as one SVG file: no script, no font, no other file, for light and dark pages.

Own code, because no library at hand draws this: pygal 3.1 writes a script into every chart and knows whiskers only,
leather 0.4 has no intervals, and what draws bands well (matplotlib, Altair) brings tens of megabytes.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, floor, log
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

_WIDTH: Final = 880
_HEIGHT: Final = 500
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 640, 60, 440  # of what the lines are drawn in; their names stand right of it
_NAMES: Final = _RIGHT + 56
_ROW: Final = 20  # between two names
_TICK_GAP: Final = 42  # between two numbers below the axis

# Okabe and Ito's colours, which colour-blind readers tell apart, made darker or lighter until they stand out.
_LIGHT: Final = ("#0072b2", "#c44e00", "#007a5a", "#a8508a", "#8a6d00", "#7d5230", "#b3203a", "#7a3fb5")
_DARK: Final = ("#4fb3f0", "#ff8a4c", "#2fc79a", "#e59ccb", "#e6c229", "#c9a27e", "#ff7b8a", "#bb94ee")
_DASHES: Final = ("", "7 4", "2 4")  # for the second and third eight

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Point(NamedTuple):
    """A measured *y* with its interval. *y*, *low* and *high* are shares, from 0 to 1."""

    x: float
    y: float
    low: float
    high: float


class _Frame(NamedTuple):
    """Where in the picture a value is."""

    x: Callable[[float], float]
    y: Callable[[float], float]
    tenths: range  # the horizontal grid


class _Line(NamedTuple):
    name: str
    points: Sequence[Point]
    look: str  # its class in the style sheet
    dash: str


def draw_lines(
    title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[Point]], *, emphasis: str | None = None
) -> str:
    """The chart as SVG text. ValueError if *series* have no point at all.

    The x axis is logarithmic where it spans more than a factor of ten. The series named *emphasis* is drawn heavier
    than the others and above them. Points tell their numbers when pointed at.
    """
    lines = _make_lines(series, emphasis)
    points = [point for line in lines for point in line.points]
    if not points:
        raise ValueError("a chart needs a point")
    frame = _find_frame(points)
    svg = _start(title, max(len(line.name) for line in lines))
    _draw_axes(svg, frame, sorted({point.x for point in points}), x_label, y_label)
    for draw in (_draw_band, _draw_line):
        for line in lines:
            draw(svg, frame, line)
    _draw_names(svg, frame, lines)
    indent(svg)
    return tostring(svg, "unicode") + "\n"


def _make_lines(series: Mapping[str, Sequence[Point]], emphasis: str | None) -> list[_Line]:
    """What there is to draw, the emphasised one last; the others have the colour of their place in *series*."""
    lines = []
    for number, (name, points) in enumerate(series.items()):
        turn, colour = divmod(number, len(_LIGHT))
        look, dash = ("heavy", "") if name == emphasis else (f"c{colour}", _DASHES[turn % len(_DASHES)])
        if points:
            lines.append(_Line(name, sorted(points), look, dash))
    return sorted(lines, key=lambda line: line.look == "heavy")


def _start(title: str, longest_name: int) -> Element:
    width = max(_WIDTH, _NAMES + 8 * longest_name)
    svg = Element("svg", xmlns="http://www.w3.org/2000/svg", role="img", viewBox=f"0 0 {width} {_HEIGHT}")
    _add(svg, "title", title)
    _add(svg, "style", _write_rules())
    _add(svg, "rect", width=width, height=_HEIGHT, rx=6, class_="paper")
    _add(svg, "text", title, x=_LEFT, y=32, class_="title")
    return svg


def _write_rules() -> str:
    # Rules and no custom properties: librsvg and Inkscape do not know those, and skip the dark half as a whole.
    return f"""
text {{ font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }}
.title {{ font-size: 17px; font-weight: 600; }}
.line {{ fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }}
.line.heavy {{ stroke-width: 3.2; }}
.name.heavy {{ font-weight: 700; }}
.band {{ stroke: none; fill-opacity: .07; }}
.band.heavy {{ fill-opacity: .16; }}
.lead {{ fill: none; stroke-width: 1; stroke-opacity: .5; }}
{_write_colours(_LIGHT, paper="#ffffff", ink="#1f2328", soft="#59636e", grid="#d9dee4")}
@media (prefers-color-scheme: dark) {{
{_write_colours(_DARK, paper="#0d1117", ink="#f0f6fc", soft="#9198a1", grid="#2d333b")}
}}
"""


def _write_colours(lines: Sequence[str], *, paper: str, ink: str, soft: str, grid: str) -> str:
    numbered = (
        f".line.c{i}, .lead.c{i} {{ stroke: {colour}; }} .band.c{i}, .dot.c{i} {{ fill: {colour}; }}"
        for i, colour in enumerate(lines)
    )
    common = (
        f".paper {{ fill: {paper}; }} text {{ fill: {ink}; }} .soft {{ fill: {soft}; }} .grid {{ stroke: {grid}; }}"
    )
    heavy = f".line.heavy, .lead.heavy {{ stroke: {ink}; }} .band.heavy, .dot.heavy {{ fill: {ink}; }}"
    return "\n".join((common, *numbered, heavy))


def _find_frame(points: Sequence[Point]) -> _Frame:
    first, last = min(p.x for p in points), max(p.x for p in points)
    bottom = min(floor(min(p.low for p in points) * 10 + 1e-9), 9)
    top = max(ceil(max(p.high for p in points) * 10 - 1e-9), bottom + 1)
    is_wide = first > 0 and last / first > 10
    x = _scale(log(first), log(last), _LEFT + 12, _RIGHT) if is_wide else _scale(first, last, _LEFT + 12, _RIGHT)
    y = _scale(bottom / 10, top / 10, _BOTTOM, _TOP)
    return _Frame((lambda value: x(log(value))) if is_wide else x, y, range(bottom, top + 1))


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A value's place between *start* and *end*; a single value stands in the middle."""
    if low == high:
        return lambda _: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _draw_axes(svg: Element, frame: _Frame, xs: Sequence[float], x_label: str, y_label: str) -> None:
    for tenth in frame.tenths:
        y = frame.y(tenth / 10)
        _add(svg, "path", d=f"M{_LEFT},{y:.1f}H{_RIGHT}", class_="grid")
        _add(svg, "text", f"{tenth * 10} %", x=_LEFT - 8, y=y + 4.5, text_anchor="end", class_="soft")
    free = 0.0
    for value in xs:
        x = frame.x(value)
        if x >= free:
            _add(svg, "path", d=f"M{x:.1f},{_BOTTOM}v5", class_="grid")
            _add(svg, "text", f"{value:,g}", x=x, y=_BOTTOM + 20, text_anchor="middle", class_="soft")
            free = x + _TICK_GAP
    middle = (_TOP + _BOTTOM) / 2
    _add(svg, "text", x_label, x=(_LEFT + _RIGHT) / 2, y=_BOTTOM + 44, text_anchor="middle")
    _add(svg, "text", y_label, x=20, y=middle, text_anchor="middle", transform=f"rotate(-90 20 {middle:g})")


def _draw_band(svg: Element, frame: _Frame, line: _Line) -> None:
    edge = [(p.x, p.high) for p in line.points] + [(p.x, p.low) for p in reversed(line.points)]
    _add(svg, "path", d=_write_path(frame, edge) + "Z", class_=f"band {line.look}")


def _draw_line(svg: Element, frame: _Frame, line: _Line) -> None:
    path = _write_path(frame, [(p.x, p.y) for p in line.points])
    _add(svg, "path", d=path, class_=f"line {line.look}", stroke_dasharray=line.dash)
    for p in line.points:
        dot = _add(svg, "circle", cx=frame.x(p.x), cy=frame.y(p.y), r=3, class_=f"dot {line.look}")
        _add(dot, "title", f"{line.name}, {p.x:,g}: {p.y:.1%} ({p.low:.1%} to {p.high:.1%})")


def _draw_names(svg: Element, frame: _Frame, lines: Iterable[_Line]) -> None:
    """Each name beside its line's end, in the order of the ends."""
    ordered = sorted(lines, key=lambda line: frame.y(line.points[-1].y))
    ends = [(frame.x(line.points[-1].x), frame.y(line.points[-1].y)) for line in ordered]
    for (x, y), row, line in zip(ends, _spread([y for _, y in ends]), ordered, strict=True):
        start = _NAMES - 34
        _add(svg, "path", d=f"M{x + 5:.1f},{y:.1f}L{start},{row:.1f}", class_=f"lead {line.look}")
        _add(svg, "path", d=f"M{start},{row:.1f}h26", class_=f"line {line.look}", stroke_dasharray=line.dash)
        _add(svg, "text", line.name, x=_NAMES, y=row + 4.5, class_=f"name {line.look}")


def _spread(wanted: Sequence[float]) -> list[float]:
    """Places at least a row apart and around *wanted*, which ascend."""
    down, up = [wanted[0]], [wanted[-1]]
    for place in wanted[1:]:
        down.append(max(place, down[-1] + _ROW))
    for place in reversed(wanted[:-1]):
        up.append(min(place, up[-1] - _ROW))
    # The middle of two sequences that keep the distance keeps it, too.
    places = [(one + other) / 2 for one, other in zip(down, reversed(up), strict=True)]
    shift = max(0.0, _TOP - places[0]) or min(0.0, _BOTTOM - places[-1])
    return [place + shift for place in places]


def _write_path(frame: _Frame, places: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in places)


def _add(parent: Element, tag: str, text: str | None = None, **attributes: str | float) -> Element:
    """A child with *text*. An attribute's ``_`` is written as ``-``, none at its end; an empty one is left out."""
    written = {
        name.rstrip("_").replace("_", "-"): value if isinstance(value, str) else f"{value:.6g}"
        for name, value in attributes.items()
        if value != ""
    }
    child = SubElement(parent, tag, written)
    child.text = None if text is None else _NO_XML.sub("\ufffd", text)
    return child
