"""Lines and points over two axes for the evaluation report, as inline SVG.

Belongs here: geometry and escaping; colours are classes of the page's style sheet. Charts by row
are ``report_charts``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH = 640
HEIGHT = 280
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 12, 46
COLOURS = 8
"""Classes ``c0`` to ``c7`` of the style sheet."""
MAX_LEGEND = 20
LEGEND_ROW = 18

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Attributes:
        name: what it shows, with its unit.
        form: text of a tick.
        log: logarithmic; every value must be above zero.
        ticks: names of the values 0, 1, ... where the axis counts groups.
    """

    name: str
    form: Callable[[float], str] = "{:g}".format
    log: bool = False
    ticks: tuple[str, ...] = ()

    def place(self, value: float) -> float:
        """Position of a value before scaling."""
        return float(np.log10(value)) if self.log else value


def lines(
    series: Mapping[str, Points],
    *,
    x: Axis,
    y: Axis,
    label: str,
    diagonal: bool = False,
    joined: bool = True,
    from_zero: bool = False,
) -> str:
    """One line with points a name, and a legend where there are several; "" without a point.

    Args:
        series: name -> points (x, y), in order of x.
        diagonal: draw where x equals y, and give both axes one range.
        joined: False for points alone.
        from_zero: the y axis starts at zero.
    """
    points = [point for one in series.values() for point in one]
    if not points:
        return ""
    low_x, high_x = _range([x.place(point[0]) for point in points])
    low_y, high_y = _range([y.place(point[1]) for point in points])
    if diagonal:
        low_x = low_y = min(low_x, low_y)
        high_x = high_y = max(high_x, high_y)
    if from_zero:
        low_y = min(0.0, low_y)
    across = _scale(low_x, high_x, start=LEFT, end=WIDTH - RIGHT)
    up = _scale(low_y, high_y, start=HEIGHT - BOTTOM, end=TOP)
    parts = [*_grid(x, y, across, up, spans=((low_x, high_x), (low_y, high_y)))]
    if diagonal:
        parts.append(_line("mark", across(low_x), up(low_x), across(high_x), up(high_x)))
    for place, (name, one) in enumerate(series.items()):
        placed = [(across(x.place(a)), up(y.place(b))) for a, b in one]
        hints = [f"{name}: {x.form(a)}, {y.form(b)}" for a, b in one]
        parts += _drawn(placed, hints, colour=place % COLOURS, joined=joined)
    legend, height = _legend(list(series)) if len(series) > 1 else ([], HEIGHT)
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}">' + "".join(parts + legend) + "</svg>"
    )


def standalone(svg: str) -> str:
    """A chart of the report as a file of its own, with the colours of the light page."""
    opening = '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff" '
    body = svg.removeprefix("<svg ")
    head, rest = body.split(">", 1)
    return f"{opening}{head}><style>{_OWN_STYLE}</style>{rest}"


_OWN_STYLE = """
text{font:12px sans-serif;fill:#1c2430}.tick,.name{fill:#5b6675}.grid{stroke:#d9dee5}
.mark{stroke:#b3402f;stroke-dasharray:4 3}.bar,.point{fill:#2563a8}.span{stroke:#5b6675}
.line{fill:none;stroke-width:2;stroke:var(--c)}.dot{fill:var(--c)}
.c0{--c:#2563a8}.c1{--c:#c2560c}.c2{--c:#1d7a4c}.c3{--c:#8a3fa0}.c4{--c:#a8701a}.c5{--c:#b3402f}
.c6{--c:#3d7c86}.c7{--c:#6b6f78}
"""


def _drawn(placed: Points, hints: Sequence[str], *, colour: int, joined: bool) -> list[str]:
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in placed)
    line = [f'<polyline class="line c{colour}" points="{path}"/>'] if joined else []
    return line + [
        f'<circle class="dot c{colour}" cx="{a:.1f}" cy="{b:.1f}" r="3.5">'
        f"<title>{escape(hint)}</title></circle>"
        for (a, b), hint in zip(placed, hints, strict=True)
    ]


def _grid(
    x: Axis,
    y: Axis,
    across: Callable[[float], float],
    up: Callable[[float], float],
    *,
    spans: tuple[tuple[float, float], tuple[float, float]],
) -> list[str]:
    """Grid lines, ticks and the axes' names."""
    floor = HEIGHT - BOTTOM
    parts = []
    for value, text in _ticks(y, *spans[1], most=5):
        parts.append(_line("grid", LEFT, up(value), WIDTH - RIGHT, up(value)))
        parts.append(_text(LEFT - 8, up(value) + 4, text, anchor="end", kind="tick"))
    for value, text in _ticks(x, *spans[0], most=7):
        parts.append(_text(across(value), floor + 16, text, anchor="middle", kind="tick"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 8, x.name, anchor="middle", kind="name"))
    parts.append(
        f'<text class="name" text-anchor="middle" transform="translate(14 {(TOP + floor) / 2:.0f}) '
        f'rotate(-90)">{escape(y.name)}</text>'
    )
    return parts


def _ticks(axis: Axis, low: float, high: float, *, most: int) -> list[tuple[float, str]]:
    """Round values inside a range of positions, with their texts."""
    if axis.ticks:
        return [(float(place), name) for place, name in enumerate(axis.ticks)]
    if axis.log:
        powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        factors = (1,) if high - low > 2 else (1, 2, 5)
        values = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in values if low <= np.log10(value) <= high]
        return [(float(np.log10(value)), axis.form(value)) for value in inside]
    step = _round_step((high - low) / most)
    counts = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1)
    return [
        (float(count * step), axis.form(round(float(count * step), 10) + 0.0)) for count in counts
    ]


def _round_step(raw: float) -> float:
    power = 10.0 ** np.floor(np.log10(raw))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999))


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - room, high + room


def _legend(names: Sequence[str]) -> tuple[list[str], int]:
    """Names with their colours in columns under the plot, and the height with them."""
    columns = 4
    width = (WIDTH - LEFT) / columns
    parts = []
    for place, name in enumerate(names):
        left = LEFT + width * (place % columns)
        y = HEIGHT + 10 + LEGEND_ROW * (place // columns)
        short = name if len(name) <= MAX_LEGEND else name[: MAX_LEGEND - 1] + "…"
        parts.append(f'<circle class="dot c{place % COLOURS}" cx="{left:.0f}" cy="{y}" r="4"/>')
        parts.append(_text(left + 9, y + 4, short, anchor="start", kind="name"))
    return parts, HEIGHT + 8 + LEGEND_ROW * -(-len(names) // columns)


def _scale(low: float, high: float, *, start: float, end: float) -> Callable[[float], float]:
    width = (high - low) or 1.0
    return lambda value: start + (end - start) * (value - low) / width


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, *, anchor: str, kind: str) -> str:
    return (
        f'<text class="{kind}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
    )
