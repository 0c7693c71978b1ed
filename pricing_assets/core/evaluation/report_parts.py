"""The pieces that every part of the evaluation report is laid out with.

Belongs here: sections, tables, tiles and the form of a number, as escaped HTML text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


def section(title: str, body: str) -> str:
    """A titled card; ``body`` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def tile_list(tiles: Sequence[tuple[str, str]]) -> str:
    """Named values side by side."""
    inner = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles
    )
    return f'<dl class="tiles">{inner}</dl>'


def data_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text: tuple[int, ...],
    best: int | None = None,
) -> str:
    """A table from ready cells; ``text`` names the columns set left, ``best`` a bold row."""
    kinds = [' class="text"' if place in text else "" for place in range(len(heads))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for name, kind in zip(heads, kinds, strict=True)
    )
    opens = ['<tr class="best">' if place == best else "<tr>" for place in range(len(rows))]
    body = "".join(f"{start}{''.join(row)}</tr>" for start, row in zip(opens, rows, strict=True))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def cell(value: str, kind: str = "") -> str:
    """A table cell of that CSS class."""
    return f'<td class="{kind}">{escape(value)}</td>' if kind else f"<td>{escape(value)}</td>"


def signed(value: float | None, text: str) -> str:
    """A cell coloured by the sign of ``value``."""
    return cell(text, "" if not value else "up" if value > 0 else "down")


def row_label(row: Mapping[str, Any]) -> str:
    """Product, and store where there is one."""
    return str(row["product_id"]) + (f" · {row['store_id']}" if row["store_id"] else "")


def spaced(code: str) -> str:
    """A code in words."""
    return code.replace("_", " ")


def count_text(value: float) -> str:
    """A whole number with thousands apart."""
    return f"{value:,.0f}"


def number_text(value: float | None, digits: int) -> str:
    """A number, or a dash where it is not known."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent_text(value: float | None, *, signed: bool = False, digits: int = 0) -> str:
    """A share as per cent, or a dash."""
    if value is None:
        return "–"
    return f"{value:+.{digits}%}" if signed else f"{value:.{digits}%}"


def money_text(value: float | None, currency: str) -> str:
    """Whole currency units, or a dash."""
    return "–" if value is None else f"{value:,.0f} {currency}"
