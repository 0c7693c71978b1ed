"""Texts made by the column are those of Python's own formatting, row by row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pricing_assets.core import row_texts
from pricing_assets.core.row_texts import Case, sentence_lines


def test_numbers_read_as_python_formats_them() -> None:
    values = np.random.default_rng(1).normal(0, 3, 500)
    assert row_texts.fixed_texts(values).to_pylist() == [f"{round(v, 1) + 0.0:.1f}" for v in values]
    shares = np.abs(values) / 20
    assert row_texts.percent_texts(shares).to_pylist() == [f"{share:.0%}" for share in shares]
    prices = np.round(np.abs(values), 2)
    assert row_texts.decimal_texts(prices, decimals=2).to_pylist() == [f"{p:.2f}" for p in prices]
    for counts in (np.abs(values) * 50, np.array([2.5, 3.5, 1e30]), np.array([])):
        assert row_texts.whole_texts(counts).to_pylist() == [f"{count:.0f}" for count in counts]
    assert row_texts.fixed_texts(np.array([np.nan])).to_pylist() == ["nan"]


def test_each_row_gets_the_sentence_of_its_case() -> None:
    names = pa.array(["a", "b", "c", "d"])
    lines = sentence_lines(
        4,
        [
            Case.at(np.array([True, False, False, True]), lambda rows: names.take(pa.array(rows))),
            Case.at(np.array([False, True, False, False]), "same"),
            Case.at(np.zeros(4, dtype=bool), "never"),
        ],
    )
    assert lines.to_pylist() == ["a", "same", None, "d"]
    assert row_texts.joined(lines, names).to_pylist() == ["a; a", "same; b", "c", "d; d"]
    assert sentence_lines(0, []).to_pylist() == []


def test_few_texts_asks_once_for_each_row_of_codes() -> None:
    asked = []

    def say(first: int, second: int) -> str | None:
        asked.append((first, second))
        return f"{first}-{second}" if second else None

    first, second = np.array([7, 7, 2, 7]), np.array([0, 1, 1, 0])
    assert row_texts.few_texts([first, second], say).to_pylist() == [None, "7-1", "2-1", None]
    assert len(asked) == 3
