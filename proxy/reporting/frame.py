"""The frame of a chart: where on the picture it is drawn, its grid, its axes, and names beside what is drawn."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from proxy.reporting.canvas import CHARACTER, SMALL_CHARACTER, Look, add, add_name, shorten
from proxy.reporting.scales import Scale, drop_close

USUAL: Final = 578  # the width of a picture: two of them fit beside each other on a page
TITLE: Final = 40  # that the title of a picture takes which is a file of its own
TOP: Final = 34  # with the name of the vertical axis above the grid
BELOW: Final = 52  # for the numbers and the name of the horizontal axis
LEFT: Final = 62
_LEAD: Final = 20  # from a line's end to the sample of it before its name
_SAMPLE: Final = 20
_ROW: Final = 20  # between two names
_NOTED_ROW: Final = 36  # with a note below each
_TICK_GAP: Final = 46  # between two numbers below the axis


class Frame(NamedTuple):
    """What is drawn in, and where a value is in it."""

    left: float
    right: float
    top: float
    bottom: float
    x: Scale
    y: Scale

    @property
    def corner(self) -> tuple[float, float]:
        return self.right, self.bottom


class Name(NamedTuple):
    """What a line is called, at its end *at*, which has this *note* below its name."""

    text: str
    note: str
    look: Look
    at: tuple[float, float]


def draw_grid(svg: Element, frame: Frame) -> None:
    """Horizontal lines, with their numbers left of them."""
    for value, name in frame.y.ticks:
        y = frame.y.place(value)
        add(svg, "path", d=f"M{frame.left},{y:.1f}H{frame.right}", class_="grid")
        add(svg, "text", name, x=frame.left - 8, y=y + 4.5, text_anchor="end", class_="soft")


def draw_columns(svg: Element, frame: Frame) -> None:
    """Vertical lines, for rows of values."""
    for value, _ in frame.x.ticks:
        add(svg, "path", d=f"M{frame.x.place(value):.1f},{frame.top}V{frame.bottom}", class_="grid")


def draw_x_axis(svg: Element, frame: Frame, title: str) -> None:
    """Numbers and name below the grid."""
    add(svg, "path", d=f"M{frame.left},{frame.bottom}H{frame.right}", class_="axis")
    ticks = [(value, frame.x.place(value), name) for value, name in frame.x.ticks]
    for x, name in drop_close(ticks, _TICK_GAP):
        add(svg, "path", d=f"M{x:.1f},{frame.bottom}v5", class_="axis")
        add(svg, "text", name, x=x, y=frame.bottom + 20, text_anchor="middle", class_="soft")
    middle = (frame.left + frame.right) / 2
    add(svg, "text", title, x=middle, y=frame.bottom + 42, text_anchor="middle", class_="small")


def draw_y_title(svg: Element, frame: Frame, title: str) -> None:
    """Above the grid, so that nobody has to turn the head."""
    add(svg, "text", title, x=14, y=frame.top - 16, class_="small")


def measure_names(names: Iterable[tuple[str, str]]) -> float:
    """How much room they need right of the grid, each with its note."""
    longest = max(max(CHARACTER * len(shorten(name)), SMALL_CHARACTER * len(note)) for name, note in names)
    return _LEAD + _SAMPLE + 6 + longest + 6


def draw_names(svg: Element, frame: Frame, names: Iterable[Name]) -> None:
    """Each beside its line's end, in the order of the ends."""
    ordered = sorted(names, key=lambda name: name.at[1])
    height = _NOTED_ROW if any(name.note for name in ordered) else _ROW
    rows = spread_out([name.at[1] for name in ordered], height, frame.top, frame.bottom)
    start = frame.right + _LEAD
    for name, row in zip(ordered, rows, strict=True):
        (x, y), look = name.at, name.look
        add(svg, "path", d=f"M{x + 5:.1f},{y:.1f}L{start},{row:.1f}", class_=f"lead {look.style}")
        add(svg, "path", d=f"M{start},{row:.1f}h{_SAMPLE}", class_=f"line key {look.style}", stroke_dasharray=look.dash)
        add_name(svg, name.text, x=start + _SAMPLE + 6, y=row + 4.5, class_=f"name {look.style}")
        if name.note:
            add(svg, "text", name.note, x=start + _SAMPLE + 6, y=row + 19.5, class_="soft small")


def spread_out(wanted: Sequence[float], height: float, top: float, bottom: float) -> list[float]:
    """Places at least so high a row apart and around *wanted*, which ascend."""
    down, up = [wanted[0]], [wanted[-1]]
    for place in wanted[1:]:
        down.append(max(place, down[-1] + height))
    for place in reversed(wanted[:-1]):
        up.append(min(place, up[-1] - height))
    # The middle of two sequences that keep the distance keeps it, too.
    places = [(one + other) / 2 for one, other in zip(down, reversed(up), strict=True)]
    shift = max(0.0, top - places[0]) or min(0.0, bottom - places[-1])
    return [place + shift for place in places]


def draw_legend(
    svg: Element,
    looks: Iterable[tuple[str, Look]],
    at: tuple[float, float],
    draw: Callable[[Element, float, float, Look], object],
) -> float:
    """The names of series in a row, each behind a sample that *draw* draws at a place; where the row ends."""
    x, y = at
    for name, look in looks:
        draw(svg, x + 6, y, look)
        add_name(svg, name, x=x + 18, y=y + 4.5, class_="small")
        x += 18 + SMALL_CHARACTER * len(shorten(name)) + 14
    return x
