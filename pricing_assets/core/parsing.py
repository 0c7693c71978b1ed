"""From the values of one raw column to typed values and the reasons why some are wrong.

Belongs here: dates, ids, numbers and flags as people write them. Values are parsed once for each
distinct text, so that long tables stay cheap. What a table needs is ``core.ingestion``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.errors import UnreadableTableError
from pricing_assets.core.panel import Flags, Floats
from pricing_assets.core.tables import MAX_ID_LENGTH, Column

MISSING_TEXTS = frozenset({"", "na", "nan", "n/a", "null", "none", "nat", "<na>", "-"})
FLAG_TEXTS = {
    **dict.fromkeys(("1", "1.0", "true", "yes", "y", "t"), 1.0),
    **dict.fromkeys(("0", "0.0", "false", "no", "n", "f"), 0.0),
}
FIRST_YEAR, LAST_YEAR = 1970, 2099
"""Years accepted in a date; outside them a row is set aside as date_out_of_range."""

LARGEST_NUMBER = 1e12
"""Prices, costs, units and stock above this are set aside: sums of them must stay finite."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_GROUPED_COMMA = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_TIME = r"(?:[T ]\d{1,2}:\d{2}.*)?"
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d{2}|(?<=[-/.])\d)\2(\d{2}|(?<=[-/.])\d)" + _TIME)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})" + _TIME)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ParsedColumn:
    """Typed values of n rows, and masks (n,) of the rows that each reason sets aside."""

    values: NDArray[Any]
    faults: tuple[tuple[str, Flags], ...]


def parse_column(values: pd.Series, column: Column) -> ParsedColumn:
    """Typed values of ``values`` under the contract's ``column``, with the faults found."""
    if column.kind == "date":
        return _parse_dates(values)
    if column.kind == "id":
        return _parse_ids(values, column)
    if column.kind == "text":
        texts, codes = _distinct_texts(values)
        return ParsedColumn(_take(texts, codes, missing=""), ())
    if column.kind == "number":
        return _parse_numbers(values, column)
    return _parse_flags(values, column)


def _parse_numbers(values: pd.Series, column: Column) -> ParsedColumn:
    numbers, wrong = _floats(values)
    faults = [
        ("not_a_number", wrong),
        ("not_finite", np.isinf(numbers)),
        ("too_large", numbers > LARGEST_NUMBER),
    ]
    if column.required:
        faults.append(("missing_value", np.isnan(numbers) & ~wrong))
    if column.minimum is not None and column.minimum_is_open:
        faults.append(("not_positive", numbers <= column.minimum))
    elif column.minimum is not None:
        reason = "return" if column.name == "units" else "negative"
        faults.append((reason, numbers < column.minimum))
    return ParsedColumn(numbers, tuple(faults))


def _parse_flags(values: pd.Series, column: Column) -> ParsedColumn:
    """Flags and shares; an empty optional one counts as 0."""
    texts, codes = _distinct_texts(values)
    missing = np.array([text.lower() in MISSING_TEXTS for text in texts], dtype=bool)
    found = np.array([_flag(text, share=column.kind == "share") for text in texts], dtype=float)
    empty = _take(missing, codes, missing=True)
    numbers = np.where(empty, 0.0, _take(found, codes, missing=0.0))
    faults = [("bad_flag", np.isnan(numbers))]
    if column.required:
        faults.append(("missing_value", empty))
    return ParsedColumn(numbers, tuple(faults))


def _flag(text: str, *, share: bool) -> float:
    """The flag's value, NaN where it is none."""
    known = FLAG_TEXTS.get(text.lower())
    if known is not None or not share or not _NUMBER.fullmatch(text):
        return float("nan") if known is None else known
    number = float(text)
    return number if 0 <= number <= 1 else float("nan")


def _parse_ids(values: pd.Series, column: Column) -> ParsedColumn:
    texts, codes = _distinct_texts(values)
    long = np.array([len(text) > MAX_ID_LENGTH for text in texts], dtype=bool)
    control = np.array([_CONTROL.search(text) is not None for text in texts], dtype=bool)
    ids = _take(texts, codes, missing="")
    faults = [
        ("id_too_long", _take(long, codes, missing=False)),
        ("id_control_character", _take(control, codes, missing=False)),
    ]
    if column.required:
        faults.append(("missing_value", np.asarray(ids == "", dtype=bool)))
    return ParsedColumn(ids, tuple(faults))


def _parse_dates(values: pd.Series) -> ParsedColumn:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(values.dtype):
        days = values.to_numpy().astype("datetime64[D]")
        missing, wrong = np.isnat(days), np.zeros(len(values), dtype=bool)
    else:
        texts, codes = _distinct_texts(values)
        empty = np.array([text.lower() in MISSING_TEXTS for text in texts], dtype=bool)
        parsed = _days(texts)
        days = _take(parsed, codes, missing=np.datetime64("NaT", "D"))
        missing = _take(empty, codes, missing=True)
        wrong = np.isnat(days) & ~missing
    year = days.astype("datetime64[Y]").astype(np.int64) + 1970
    outside = ~np.isnat(days) & ((year < FIRST_YEAR) | (year > LAST_YEAR))
    stamps = np.where(outside, np.datetime64("NaT", "D"), days).astype("datetime64[ns]")
    faults = (
        ("missing_value", missing),
        ("unreadable_date", wrong),
        ("date_out_of_range", outside),
    )
    return ParsedColumn(stamps, faults)


def _days(texts: NDArray[np.object_]) -> NDArray[np.datetime64]:
    """Each text as a day, NaT where it is none; the order of day and month is the column's."""
    first = [_YEAR_FIRST.fullmatch(text) for text in texts]
    last = [_YEAR_LAST.fullmatch(text) for text in texts]
    day_first = _day_comes_first([match for match in last if match])
    days = np.full(len(texts), np.datetime64("NaT", "D"), dtype="datetime64[D]")
    for position, (ahead, behind) in enumerate(zip(first, last, strict=True)):
        if ahead:
            days[position] = _day(ahead[1], month=ahead[3], day=ahead[4])
        elif behind and day_first:
            days[position] = _day(behind[4], month=behind[3], day=behind[1])
        elif behind:
            days[position] = _day(behind[4], month=behind[1], day=behind[3])
    return days


def _day(year: str, *, month: str, day: str) -> np.datetime64:
    try:
        return np.datetime64(f"{year}-{int(month):02d}-{int(day):02d}", "D")
    except ValueError:
        return np.datetime64("NaT", "D")


def _day_comes_first(matches: list[re.Match[str]]) -> bool:
    """Whether 03/04/2024 is the third of April, from the column's other dates."""
    if not matches:
        return False
    day_first = sum(int(match[1]) > 12 for match in matches)
    month_first = sum(int(match[3]) > 12 for match in matches)
    dotted = all(match[2] == "." for match in matches)
    if day_first == month_first and not dotted:
        raise UnreadableTableError(
            f"dates such as '{matches[0][0]}' may be read day first or month first, and no other "
            "date of the column decides it; write dates as 2024-01-31"
        )
    return day_first > month_first or dotted


def _floats(values: pd.Series) -> tuple[Floats, Flags]:
    """Numbers (NaN where missing or wrong), and which are wrong."""
    if pd.api.types.is_numeric_dtype(values.dtype) and not _is_complex(values):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers, np.zeros(len(values), dtype=bool)
    texts, codes = _distinct_texts(values)
    numbers, wrong = _numbers_from_texts(texts)
    return _take(numbers, codes, missing=np.nan), _take(wrong, codes, missing=False)


def _is_complex(values: pd.Series) -> bool:
    return bool(pd.api.types.is_complex_dtype(values.dtype))


def _numbers_from_texts(texts: NDArray[np.object_]) -> tuple[Floats, Flags]:
    missing = np.array([text.lower() in MISSING_TEXTS for text in texts], dtype=bool)
    plain = _without_commas(texts)
    good = np.array([_NUMBER.fullmatch(text) is not None for text in plain], dtype=bool)
    numbers = np.full(len(texts), np.nan)
    numbers[good] = [float(text) for text in plain[good]]
    return numbers, ~good & ~missing


def _without_commas(texts: NDArray[np.object_]) -> NDArray[np.object_]:
    """Texts with decimal or grouping commas removed, where the column uses one kind throughout.

    "1,99" shows a decimal comma and "1,234.50" a grouping one. "1,234" alone shows neither, and
    a column that mixes both or writes "1.99" beside "1,99" shows nothing: such values stay as
    they are, and are set aside as not_a_number rather than guessed.
    """
    comma = [text for text in texts if "," in text]
    if not comma:
        return texts
    decimal = [text for text in comma if _shows(text, _DECIMAL_COMMA, _GROUPED_COMMA)]
    grouped = [text for text in comma if _shows(text, _GROUPED_COMMA, _DECIMAL_COMMA)]
    point = any("." in text and "," not in text for text in texts)
    if decimal and not grouped and not point:
        return np.array([_decimal_point(text) for text in texts], dtype=object)
    if grouped and not decimal:
        return np.array([_ungrouped(text) for text in texts], dtype=object)
    return texts


def _shows(text: str, one: re.Pattern[str], other: re.Pattern[str]) -> bool:
    return one.fullmatch(text) is not None and other.fullmatch(text) is None


def _decimal_point(text: str) -> str:
    return text.replace(".", "").replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text


def _ungrouped(text: str) -> str:
    return text.replace(",", "") if _GROUPED_COMMA.fullmatch(text) else text


def _distinct_texts(values: pd.Series) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Distinct values as stripped text, and each row's position among them (-1 missing)."""
    try:
        codes, distinct = pd.factorize(values)
    except TypeError:  # lists and structs of a nested Parquet column cannot be hashed
        codes, distinct = pd.factorize(values.map(str))
    texts = np.array([_text(value) for value in distinct], dtype=object)
    return texts, np.asarray(codes, dtype=np.int64)


def _text(value: object) -> str:
    """A value as text; a whole number stored as a float loses its point ("123.0" -> "123")."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, bool | np.bool_):
        return "1" if value else "0"
    return str(value).strip()


def _take(distinct: NDArray[Any], codes: NDArray[np.int64], *, missing: object) -> NDArray[Any]:
    """Row values from distinct ones; ``missing`` where the code is -1."""
    padded = np.empty(len(distinct) + 1, dtype=distinct.dtype)
    padded[:-1] = distinct
    padded[-1] = missing
    return padded[codes]
