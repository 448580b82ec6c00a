"""Charts of bars: how much of each kind there is, and what happened when."""

from itertools import zip_longest
from typing import Final
from xml.etree.ElementTree import Element

from proxy.reporting.canvas import CHARACTER, LONGEST_NAME, Look, add, add_name, list_looks, make_svg
from proxy.reporting.charts import Axis, Bars, Timeline
from proxy.reporting.frame import (
    BELOW,
    LEFT,
    TITLE,
    TOP,
    USUAL,
    Frame,
    draw_grid,
    draw_legend,
    draw_x_axis,
    draw_y_title,
)
from proxy.reporting.scales import Scale, fit

_RIGHT: Final = 20
_LONG: Final = 820  # of what has time for its axis
_HEIGHT: Final = 230
_PULSE_HEIGHT: Final = 150
_LANE: Final = 26
_GAP: Final = 0.25  # of a bar's room, between it and the next
_NOTE: Final = 16
_THIN: Final = 2.5  # a moment that would be too thin to be seen
_SECONDS: Final = Axis(label="time since the beginning", unit="s", scale="linear")
_DOWN: Final = Look("c1")


def draw_bars(chart: Bars, *, standalone: bool = False) -> Element:
    """Bars from 0, each with its number above it. ValueError if there is none."""
    if not chart.bars:
        raise ValueError("a chart needs a bar")
    top = TOP + TITLE * standalone
    y = fit(chart.y, list(chart.bars.values()), top + _HEIGHT, top, from_zero=True)
    frame = Frame(LEFT, USUAL - _RIGHT, top, top + _HEIGHT, Scale(lambda value: value, ()), y)
    room = _NOTE if chart.notes else 0
    svg = make_svg(chart.title, frame.right + _RIGHT, frame.bottom + BELOW + room, standalone=standalone)
    draw_grid(svg, frame)
    draw_y_title(svg, frame, chart.y.title)
    width = (frame.right - frame.left) / len(chart.bars)
    for number, (name, value) in enumerate(chart.bars.items()):
        left, height = frame.left + width * (number + _GAP / 2), y.place(0) - y.place(value)
        middle = left + width * (1 - _GAP) / 2
        bar = add(svg, "rect", x=left, y=y.place(value), width=width * (1 - _GAP), height=height, class_="dot c0")
        add(bar, "title", f"{name}: {chart.y.tell(value)}")
        add(svg, "text", chart.y.count(value), x=middle, y=y.place(value) - 5, text_anchor="middle", class_="small")
        add_name(svg, name, x=middle, y=frame.bottom + 18, text_anchor="middle", class_="soft")
        if note := chart.notes.get(name):
            add(svg, "text", note, x=middle, y=frame.bottom + 34, text_anchor="middle", class_="soft small")
    add(svg, "path", d=f"M{frame.left},{frame.bottom}H{frame.right}", class_="axis")
    label = f"{chart.x_label}; below it {chart.note_label}" if chart.notes else chart.x_label
    middle = (frame.left + frame.right) / 2
    add(svg, "text", label, x=middle, y=frame.bottom + 40 + room, text_anchor="middle", class_="small")
    return svg


def draw_timeline(chart: Timeline, *, standalone: bool = False) -> Element:
    """Counts over time, and below them what happened meanwhile, each on a lane of its own."""
    left = max(LEFT, 26 + CHARACTER * max((min(len(lane), LONGEST_NAME) for lane in chart.lanes), default=0))
    top = TOP + 24 + TITLE * standalone
    bottom = top + _PULSE_HEIGHT
    counts = [sum(bin_) for bin_ in zip_longest(*chart.pulses.values(), fillvalue=0.0)]
    x = fit(_SECONDS, (0, chart.seconds), left, left + _LONG, from_zero=True)
    y = fit(chart.y, counts or [0], bottom, top, from_zero=True)
    frame = Frame(left, x.place(x.ticks[-1][0]), top, bottom, x, y)
    end = bottom + 14 + _LANE * len(chart.lanes)
    svg = make_svg(chart.title, frame.right + _RIGHT, end + BELOW, standalone=standalone)
    draw_grid(svg, frame)
    draw_y_title(svg, frame._replace(top=top - 22), chart.y.title)
    looks = list_looks(chart.pulses)
    draw_legend(svg, looks.items(), (left, top - 16), _draw_sample)
    _draw_pulses(svg, frame, chart, looks)
    for number, lane in enumerate(chart.lanes):
        _draw_lane(svg, frame, chart, lane, bottom + 14 + _LANE * (number + 0.5))
    draw_x_axis(svg, frame._replace(bottom=end), _SECONDS.title)
    return svg


def _draw_pulses(svg: Element, frame: Frame, chart: Timeline, looks: dict[str, Look]) -> None:
    """Bars of each bin on top of each other."""
    longest = max((len(counted) for counted in chart.pulses.values()), default=0)
    for number in range(longest):
        start, end = (frame.x.place(chart.bin_s * (number + step)) for step in (0.08, 0.92))
        below = 0.0
        for name, counted in chart.pulses.items():
            if number < len(counted) and counted[number]:
                count = counted[number]
                low, high = frame.y.place(below), frame.y.place(below + count)
                look = looks[name].style
                bar = add(svg, "rect", x=start, y=high, width=end - start, height=low - high, class_=f"dot {look}")
                add(bar, "title", f"{name}, after {chart.bin_s * number:,.4g} s: {chart.y.tell(count)}")
                below += count


def _draw_lane(svg: Element, frame: Frame, chart: Timeline, lane: str, y: float) -> None:
    add_name(svg, lane, x=frame.left - 8, y=y + 4.5, text_anchor="end")
    add(svg, "path", d=f"M{frame.left},{y:.1f}H{frame.right}", class_="grid")
    for span in chart.lanes[lane]:
        first, last = frame.x.place(span.start), frame.x.place(min(span.end, frame.x.ticks[-1][0]))
        width = max(last - first, _THIN)
        box = add(svg, "rect", x=first, y=y - 8, width=width, height=16, class_=f"dot {_DOWN.style}")
        add(box, "title", f"{lane}, after {span.start:,.1f} s: for {span.end - span.start:.2f} s")


def _draw_sample(svg: Element, x: float, y: float, look: Look) -> None:
    add(svg, "rect", x=x - 5, y=y - 5, width=10, height=10, class_=f"dot {look.style}")
