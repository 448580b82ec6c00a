"""Charts of lines: values over something that grows, and how values are distributed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from proxy.reporting.canvas import Look, add, list_looks, make_svg, write_path
from proxy.reporting.charts import MARKS, Bound, Lines, Point, Spreads, tell_interval, tell_number, tell_share
from proxy.reporting.frame import (
    BELOW,
    LEFT,
    TITLE,
    TOP,
    USUAL,
    Frame,
    Name,
    draw_grid,
    draw_names,
    draw_x_axis,
    draw_y_title,
    measure_names,
)
from proxy.reporting.scales import Scale, fit, fit_exactly, fit_shares

_Fit = Callable[[float, float], Scale]

_LEAST: Final = 270  # of what lines are drawn in
_HEIGHT: Final = 270
_MARGIN: Final = 12  # left of the first value
_MANY: Final = 40  # points of a line that have no dots any more
_TICKS: Final = 12  # values of x that are named themselves


class _Line(NamedTuple):
    """One series. *told*: the points that have dots, each with what it says when pointed at."""

    name: str
    note: str
    look: Look
    points: Sequence[Point]
    told: Sequence[tuple[Point, str]]


def draw_lines(chart: Lines, *, standalone: bool = False) -> Element:
    """Lines with the bands of their intervals. ValueError if there is no point at all."""
    lines = _list_lines(chart)
    points = [point for line in lines for point in line.points]
    if not points:
        raise ValueError("a chart needs a point")
    values = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    values += [bound.value for bound in chart.bounds]
    xs = sorted({point.x for point in points})
    # Values that were chosen are named themselves; of those that came about, round ones in their range.
    fit_x = fit_exactly if len(xs) <= _TICKS else fit
    svg, frame = _start(
        chart,
        lines,
        lambda left, right: fit_x(chart.x, xs, left, right),
        lambda bottom, top: fit(chart.y, values, bottom, top, from_zero=chart.from_zero),
        standalone=standalone,
    )
    draw_x_axis(svg, frame, chart.x.title)
    for bound in chart.bounds:
        _draw_bound(svg, frame, bound)
    _draw_all(svg, frame, lines)
    return svg


def draw_spreads(chart: Spreads, *, standalone: bool = False) -> Element:
    """A line for each kind, its values from the least to the most. ValueError if there is no kind."""
    lines = _list_spreads(chart)
    if not lines:
        raise ValueError("a chart needs a line")
    points = [point for line in lines for point in line.points]
    shares = [point.x for point in points]
    svg, frame = _start(
        chart,
        lines,
        lambda left, right: fit_shares(min(shares), max(shares), left, right),
        lambda bottom, top: fit(chart.y, [point.y for point in points], bottom, top),
        standalone=standalone,
    )
    draw_x_axis(svg, frame, f"{chart.what}, sorted by time")
    for mark in MARKS:
        if min(shares) <= mark <= max(shares):
            add(svg, "path", d=f"M{frame.x.place(mark):.1f},{frame.top}V{frame.bottom}", class_="grid")
    _draw_all(svg, frame, lines)
    return svg


def _start(
    chart: Lines | Spreads, lines: Sequence[_Line], fit_x: _Fit, fit_y: _Fit, *, standalone: bool
) -> tuple[Element, Frame]:
    """The picture with its grid and its names. Long names leave the lines less room."""
    names = measure_names((line.name, line.note) for line in lines)
    right = LEFT + max(USUAL - LEFT - names, _LEAST)
    top = TOP + TITLE * standalone
    bottom = top + _HEIGHT
    frame = Frame(LEFT, right, top, bottom, fit_x(LEFT + _MARGIN, right), fit_y(bottom, top))
    svg = make_svg(chart.title, right + names, bottom + BELOW, standalone=standalone)
    draw_grid(svg, frame)
    draw_y_title(svg, frame, chart.y.title)
    draw_names(svg, frame, _list_names(frame, lines))
    return svg, frame


def _list_lines(chart: Lines) -> list[_Line]:
    """What there is to draw, the emphasised one last; the others have the colour of their place in the chart."""
    looks = list_looks(chart.series, chart.emphasis)
    lines = []
    for name, unordered in chart.series.items():
        points = sorted(unordered)
        told = [(point, _tell(chart, name, point)) for point in points] if len(points) <= _MANY else []
        if points:
            lines.append(_Line(name, "", looks[name], points, told))
    return sorted(lines, key=lambda line: line.name == chart.emphasis)


def _tell(chart: Lines, name: str, point: Point) -> str:
    value = tell_interval(chart.y, point.y, point.low, point.high)
    unit = "" if chart.y.is_share else f" {chart.y.unit}".rstrip()
    return f"{name}, {tell_number(point.x)}{f' {chart.x.unit}'.rstrip()}: {value}{unit}"


def _list_spreads(chart: Spreads) -> list[_Line]:
    looks = list_looks(chart.series)
    lines = []
    for name, sample in chart.series.items():
        points = [Point(*quantile) for quantile in sample.quantiles]
        marks = [(mark, value) for mark in MARKS if (value := sample.at(mark)) is not None]
        told = [(Point(mark, y), f"{name}, {tell_share(mark)}: {chart.y.tell(y)}") for mark, y in marks]
        note = ", ".join(f"{tell_share(mark)} {chart.y.count(y)}" for mark, y in marks)
        lines.append(_Line(name, f"{note} {chart.y.unit}".rstrip(), looks[name], points, told))
    return lines


def _list_names(frame: Frame, lines: Sequence[_Line]) -> list[Name]:
    return [
        Name(line.name, line.note, line.look, (frame.x.place(line.points[-1].x), frame.y.place(line.points[-1].y)))
        for line in lines
    ]


def _draw_all(svg: Element, frame: Frame, lines: Sequence[_Line]) -> None:
    for draw in (_draw_band, _draw_line):
        for line in lines:
            draw(svg, frame, line)


def _draw_band(svg: Element, frame: Frame, line: _Line) -> None:
    known = [(p.x, p.low, p.high) for p in line.points if p.low is not None and p.high is not None]
    if not known:
        return
    edge = [(x, high) for x, _, high in known] + [(x, low) for x, low, _ in reversed(known)]
    add(svg, "path", d=write_path(_place(frame, edge)) + "Z", class_=f"band {line.look.style}")


def _draw_line(svg: Element, frame: Frame, line: _Line) -> None:
    path = write_path(_place(frame, [(p.x, p.y) for p in line.points]))
    add(svg, "path", d=path, class_=f"line {line.look.style}", stroke_dasharray=line.look.dash)
    for p, told in line.told:
        dot = add(svg, "circle", cx=frame.x.place(p.x), cy=frame.y.place(p.y), r=3, class_=f"dot {line.look.style}")
        add(dot, "title", told)


def _draw_bound(svg: Element, frame: Frame, bound: Bound) -> None:
    y = frame.y.place(bound.value)
    add(svg, "path", d=f"M{frame.left},{y:.1f}H{frame.right}", class_="bound")
    add(svg, "text", bound.name, x=frame.left + 6, y=y - 5, class_="soft small")


def _place(frame: Frame, places: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    return ((frame.x.place(x), frame.y.place(y)) for x, y in places)
