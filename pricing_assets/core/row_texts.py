"""Sentences for a million rows: texts made a column at a time, in Arrow.

Belongs here: turning numbers and codes of many rows into strings, and joining them. What is said
is ``core.price_reasons``. No Python code runs for each row, but for each distinct number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

Sentence = Callable[[Indices], "pa.StringArray"] | str
"""The texts of some rows, from their positions; or one text that is the same for all."""

_EXACT = 2.0**53
"""Whole numbers up to here are exact in a double."""


@dataclass(frozen=True, slots=True)
class Case:
    """Rows of one kind, (m,) positions, and what is said of them."""

    rows: Indices
    say: Sentence

    @classmethod
    def at(cls, where: Flags, say: Sentence) -> Case:
        """The rows where ``where`` (n,) holds."""
        return cls(np.flatnonzero(where), say)


def sentence_lines(count: int, cases: Sequence[Case]) -> pa.StringArray:
    """(count,) the sentence of each row's case; null where there is none. No row has two."""
    place, parts, used = np.zeros(count, dtype=np.int64), [pa.nulls(1, pa.string())], 1
    for case in (case for case in cases if case.rows.size):
        if isinstance(case.say, str):
            texts, place[case.rows] = pa.array([case.say], pa.string()), used
        else:
            texts, place[case.rows] = case.say(case.rows), used + np.arange(len(case.rows))
        parts.append(texts)
        used += len(texts)
    return pa.concat_arrays(parts).take(pa.array(place))


def spliced(*pieces: pa.StringArray | str) -> pa.StringArray:
    """The pieces of a sentence without space between; a string is the same in every row."""
    return pc.binary_join_element_wise(*(_plain(piece) for piece in pieces), pa.scalar(""))


def joined(*parts: pa.StringArray) -> pa.StringArray:
    """The parts of a line with "; " between; nulls are left out."""
    return pc.binary_join_element_wise(*parts, pa.scalar("; "), null_handling="skip")


def few_texts(codes: Sequence[NDArray], say: Callable[..., str | None]) -> pa.StringArray:
    """(n,) ``say`` of the codes, each (n,), asked once for each distinct row of codes."""
    index = np.zeros(len(codes[0]), dtype=np.int64)
    for column in codes:
        found, values = pd.factorize(column)
        index = index * max(len(values), 1) + found
    index, _ = pd.factorize(index)
    _, first = np.unique(index, return_index=True)
    texts = [say(*(int(column[row]) for column in codes)) for row in first]
    return pa.array(texts, pa.string()).take(pa.array(index))


def code_texts(codes: Indices, texts: Sequence[str]) -> pa.StringArray:
    """(n,) the text of each code 0, 1, ..."""
    return pa.array(texts, pa.string()).take(pa.array(codes))


def fixed_texts(values: Floats, *, decimals: int = 1, end: str = "") -> pa.StringArray:
    """(n,) numbers that repeat much, rounded half to even; formatted once each."""
    scale = 10.0**decimals
    codes, distinct = pd.factorize(np.rint(values * scale) + 0.0, use_na_sentinel=False)
    texts = [f"{value / scale:.{decimals}f}{end}" for value in distinct.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(codes))


def percent_texts(shares: Floats, *, decimals: int = 0) -> pa.StringArray:
    """(n,) shares as per cent, as ``fixed_texts``."""
    return fixed_texts(np.asarray(shares) * 100, decimals=decimals, end="%")


def decimal_texts(prices: Floats, *, decimals: int) -> pa.StringArray:
    """(n,) prices in currency units, as ``fixed_texts``."""
    return fixed_texts(prices, decimals=decimals)


def whole_texts(values: Floats) -> pa.StringArray:
    """(n,) numbers of zero and more, rounded half to even to whole ones."""
    if values.size and np.abs(values).max() < _EXACT:
        return pa.array(np.rint(values).astype(np.int64)).cast(pa.string())
    return pa.array([f"{value:.0f}" for value in values], pa.string())


def _plain(piece: pa.StringArray | str) -> pa.StringArray | pa.Scalar:
    return pa.scalar(piece) if isinstance(piece, str) else piece
