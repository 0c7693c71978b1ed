"""Headings: from the user's column names to the contract's, and the single sheet's split.

Belongs here: the ``columns`` mapping of the settings. What a column holds is ``core.parsing``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from pricing_assets.core.errors import (
    InvalidSettingError,
    MissingColumnError,
    UnknownKeyError,
)
from pricing_assets.core.parsing import MISSING_TEXTS
from pricing_assets.core.tables import RAW_TABLES, SINGLE_SHEET

SHEET_COLUMNS = ("competitor_price", "inventory")
"""Columns of the single sheet that are tables of their own in the contract."""

RIVAL = "rival"
"""Name of the only competitor of a single sheet."""

_ALL_COLUMNS = {column.name for schema in RAW_TABLES.values() for column in schema.columns}
_SHEET = {"".join(filter(str.isalnum, key.lower())): name for key, name in SINGLE_SHEET.items()}


def contract_headings(
    frame: pd.DataFrame, *, table: str, columns: Mapping[str, str | dict[str, str]]
) -> pd.DataFrame:
    """The frame under contract headings; columns that the contract does not know keep theirs.

    The mapping comes first, then exact names, then names that differ in case or outer spaces
    only, then (in ``sales``) the single sheet's own headings.

    Raises:
        UnknownKeyError: a mapping that names no contract column or table.
        MissingColumnError: a mapping of this table that names a heading it does not have.
        InvalidSettingError: two headings mapped to one column.
    """
    found = [_clean(heading) for heading in frame.columns]
    named = frame.set_axis(pd.Index(found, dtype=object), axis=1)
    target = _mapped(found, table=table, columns=columns)
    for wanted in _wanted(table):
        if wanted not in target:
            source = _matching(wanted, [name for name in found if name not in target.values()])
            if source is not None:
                target[wanted] = source
    if table == "sales" and is_single_sheet(found):
        for heading in found:
            target.setdefault(_SHEET.get(_plain(heading), heading), heading)
    return _rename(named, target)


def is_single_sheet(headings: Iterable[str]) -> bool:
    """Whether the headings hold the single sheet's product, date, sales and price."""
    plain = {_plain(_clean(heading)) for heading in headings}
    return {"productid", "date", "sales", "price"} <= plain


def is_complete_single_sheet(headings: Iterable[str]) -> bool:
    """Whether the headings hold all six of the single sheet."""
    return set(_SHEET) <= {_plain(_clean(heading)) for heading in headings}


def split_single_sheet(sales: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Contract tables inside a ``sales`` frame that carries rival prices or stock.

    ``sales`` must bear contract headings already. Rows without a rival price or stock give none.
    """
    tables = {"sales": sales.drop(columns=[c for c in SHEET_COLUMNS if c in sales.columns])}
    key = [name for name in ("date", "product_id", "store_id") if name in sales.columns]
    for source, table, column in (
        ("competitor_price", "competitor_prices", "price"),
        ("inventory", "inventory", "on_hand"),
    ):
        if source in sales.columns:
            given = ~sales[source].astype(object).map(_is_blank).astype(bool)
            part = sales.loc[given, [*key, source]].rename(columns={source: column})
            tables[table] = part.assign(competitor=RIVAL) if column == "price" else part
    return tables


def _mapped(
    found: list[str], *, table: str, columns: Mapping[str, str | dict[str, str]]
) -> dict[str, str]:
    """Contract name -> heading, from the settings, for the headings of this table."""
    target: dict[str, str] = {}
    for left, right, of_table in _pairs(table, columns):
        name, heading = _direction(left, right)
        source = _matching(heading, found)
        if source is None and of_table:
            raise MissingColumnError(table=table, column=heading, found=found)
        if source is None or name not in _wanted(table):
            continue
        if target.setdefault(name, source) != source:
            raise InvalidSettingError(
                f"columns maps both '{target[name]}' and '{source}' to '{name}' in table "
                f"'{table}'; keep one of them"
            )
    return target


def _pairs(
    table: str, columns: Mapping[str, str | dict[str, str]]
) -> Iterator[tuple[str, str, bool]]:
    """Pairs of the mapping that concern ``table``, and whether they name it."""
    for key, value in columns.items():
        if isinstance(value, str):
            yield key, value, False
        elif key not in RAW_TABLES:
            raise _unknown(key, RAW_TABLES)
        elif key == table:
            yield from ((left, right, True) for left, right in value.items())


def _direction(left: str, right: str) -> tuple[str, str]:
    """(contract name, heading) of a pair written either way round."""
    known = _ALL_COLUMNS.union(SHEET_COLUMNS)
    if left in known:
        return left, right
    if right in known:
        return right, left
    raise _unknown(left, known)


def _unknown(key: str, allowed: Iterable[str]) -> UnknownKeyError:
    names = [f"columns.{name}" for name in allowed]
    return UnknownKeyError(key=f"columns.{key}", allowed=names)


def _wanted(table: str) -> tuple[str, ...]:
    names = tuple(column.name for column in RAW_TABLES[table].columns)
    return names + SHEET_COLUMNS if table == "sales" else names


def _matching(wanted: str, headings: list[str]) -> str | None:
    """The heading that is ``wanted``, exactly or but for case and outer spaces."""
    if wanted in headings:
        return wanted
    loose = wanted.strip().lower()
    return next((name for name in headings if name.strip().lower() == loose), None)


def _rename(frame: pd.DataFrame, target: Mapping[str, str]) -> pd.DataFrame:
    """Mapped columns under contract names first, then the others under their own."""
    picked = {name: frame[source] for name, source in target.items()}
    others = [name for name in frame.columns if name not in set(target.values())]
    rest = {name: frame[name] for name in others if name not in picked}
    return pd.DataFrame({**picked, **rest}, index=frame.index)


def _clean(heading: object) -> str:
    return str(heading).lstrip("\ufeff").strip()


def _plain(heading: str) -> str:
    return "".join(filter(str.isalnum, heading.lower()))


def _is_blank(value: object) -> bool:
    return value is None or value != value or str(value).strip().lower() in MISSING_TEXTS
