"""The evaluation report's charts as inline SVG, coloured by the page's style sheet.

Belongs here: geometry and escaping. No script, no font, nothing from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

WIDTH = 640
ROW_HEIGHT = 22
LABEL_WIDTH = 190
MAX_LABEL = 26


def bars(rows: Sequence[tuple[str, float]], *, label: str, form: Callable[[float], str]) -> str:
    """Horizontal bars from zero, one a row, each with its value; rows are (name, value >= 0)."""
    top = max((value for _, value in rows), default=0.0) or 1.0
    room = WIDTH - LABEL_WIDTH - 70
    parts = []
    for index, (name, value) in enumerate(rows):
        y = index * ROW_HEIGHT
        length = max(1.0, room * value / top)
        parts.append(_name(name, y))
        parts.append(
            f'<rect class="bar" x="{LABEL_WIDTH}" y="{y + 4}" width="{length:.1f}" height="14" '
            f'rx="2"/><text x="{LABEL_WIDTH + length + 6:.1f}" y="{y + 15}">'
            f"{escape(form(value))}</text>"
        )
    return _svg(parts, height=len(rows) * ROW_HEIGHT, label=label)


def diverging(
    rows: Sequence[tuple[str, float]], *, label: str, form: Callable[[float], str]
) -> str:
    """Horizontal bars to either side of zero, one a row, each with its value."""
    low = min(0.0, *(value for _, value in rows))
    high = max(0.0, *(value for _, value in rows))
    scale = _scale(low, high, start=LABEL_WIDTH + 70, end=WIDTH - 80)
    parts = []
    for index, (name, value) in enumerate(rows):
        y = index * ROW_HEIGHT
        left, right = scale(min(value, 0.0)), scale(max(value, 0.0))
        kind = "loss" if value < 0 else "gain"
        anchor, x = ("end", left - 6) if value < 0 else ("start", right + 6)
        parts.append(_name(name, y))
        parts.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{y + 4}" width="{max(right - left, 1):.1f}" '
            f'height="14" rx="2"/><text text-anchor="{anchor}" x="{x:.1f}" y="{y + 15}">'
            f"{escape(form(value))}</text>"
        )
    return _svg(parts, height=len(rows) * ROW_HEIGHT, label=label)


def forest(rows: Sequence[Mapping[str, Any]], *, label: str) -> str:
    """Point and 90 % interval of each row on a common axis, with marks at -1 and at 0."""
    known = [row for row in rows if row["low_90"] is not None and row["high_90"] is not None]
    if not known:
        return ""
    low = min(-1.0, *(float(row["low_90"]) for row in known))
    high = max(0.0, *(float(row["high_90"]) for row in known))
    scale = _scale(low, high, start=LABEL_WIDTH, end=WIDTH - 16)
    height = len(known) * 16
    parts = _axis(low, high, scale, height=height, marks=(-1.0, 0.0))
    for index, row in enumerate(known):
        y = index * 16 + 8
        name = str(row["product_id"]) + (f" · {row['store_id']}" if row.get("store_id") else "")
        left, right = scale(float(row["low_90"])), scale(float(row["high_90"]))
        parts.append(_name(name, y - 11))
        parts.append(f'<line class="span" x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}"/>')
        point = scale(float(row["own_price_elasticity"]))
        parts.append(f'<circle class="point" cx="{point:.1f}" cy="{y}" r="3.5"/>')
    return _svg(parts, height=height + 24, label=label)


def histogram(bins: Sequence[Mapping[str, float]], *, label: str) -> str:
    """Counts by interval; ``bins`` hold from, to and count, in order."""
    if not bins:
        return ""
    low, high = float(bins[0]["from"]), float(bins[-1]["to"])
    top = max(float(item["count"]) for item in bins) or 1.0
    height = 150
    scale = _scale(low, high, start=16, end=WIDTH - 16)
    parts = _axis(low, high, scale, height=height, marks=(-1.0,))
    for item in bins:
        left, right = scale(float(item["from"])), scale(float(item["to"]))
        tall = (height - 8) * float(item["count"]) / top
        parts.append(
            f'<rect class="bar" x="{left + 0.5:.1f}" y="{height - tall:.1f}" '
            f'width="{max(right - left - 1, 1):.1f}" height="{tall:.1f}"><title>'
            f"{item['from']:.2f} to {item['to']:.2f}: {item['count']:.0f}</title></rect>"
        )
    return _svg(parts, height=height + 24, label=label)


def _scale(low: float, high: float, *, start: float, end: float) -> Callable[[float], float]:
    width = (high - low) or 1.0
    return lambda value: start + (end - start) * (value - low) / width


def _axis(
    low: float,
    high: float,
    scale: Callable[[float], float],
    *,
    height: float,
    marks: tuple[float, ...],
) -> list[str]:
    """Ticks under the plot, and upright lines at the marks that lie inside."""
    parts = [
        f'<line class="mark" x1="{scale(mark):.1f}" x2="{scale(mark):.1f}" y1="0" y2="{height}"/>'
        for mark in marks
        if low <= mark <= high
    ]
    for tick in _ticks(low, high):
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{scale(tick):.1f}" y="{height + 16}">'
            f"{tick:g}</text>"
        )
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """About six round values inside the range."""
    raw = max((high - low) / 6, 1e-9)
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw)
    first, last = np.ceil(low / step), np.floor(high / step)
    return [round(float(count * step), 10) + 0.0 for count in np.arange(first, last + 1)]


def _name(text: str, y: float) -> str:
    short = text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"
    return (
        f'<text class="name" text-anchor="end" x="{LABEL_WIDTH - 8}" y="{y + 15:.1f}">'
        f"<title>{escape(text[:200])}</title>{escape(short)}</text>"
    )


def _svg(parts: Sequence[str], *, height: float, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )
