"""What a person sees of an asset in Dagster's page: counts, columns, the first rows, a plot.

Belongs here: turning results into Dagster metadata values. Which of them an asset shows is its
own choice. Plots are PNG data addresses, so that they show offline.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metadata = dict[str, Any]

_PREVIEW_ROWS = 5
_PREVIEW_CHARACTERS = 40
"""Dagster's page wraps a long text into a narrow, very high cell."""


def table_metadata(frame: pd.DataFrame) -> Metadata:
    """Row count, column schema and the first rows of ``frame``."""
    columns = [dg.TableColumn(str(name), str(frame[name].dtype)) for name in frame.columns]
    return {
        "dagster/row_count": len(frame),
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "preview": records_metadata(frame.head(_PREVIEW_ROWS)),
    }


def records_metadata(frame: pd.DataFrame) -> dg.MetadataValue[Any]:
    """The rows of a short ``frame`` as a table in the page."""
    rows = [
        {str(name): _cell(value) for name, value in row.items()}
        for row in frame.to_dict(orient="records")
    ]
    if not rows:
        return dg.MetadataValue.md("no rows")
    kinds = {name: _kind(value) for name, value in rows[0].items()}
    for row in rows[1:]:
        kinds = {name: kinds[name] if kinds[name] == _kind(row[name]) else "string" for name in row}
    schema = dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in kinds.items()])
    records = [
        dg.TableRecord({k: str(v) if kinds[k] == "string" else v for k, v in row.items()})
        for row in rows
    ]
    return dg.MetadataValue.table(records=records, schema=schema)


def check_metadata(*, value: float | int | str, threshold: float | int | str) -> Metadata:
    """The value that a check looked at and the threshold it must meet."""
    return {"value": _cell(value), "threshold": _cell(threshold)}


def line_plot(
    x: np.ndarray, lines: Mapping[str, np.ndarray], *, title: str, y_label: str
) -> dg.MetadataValue[Any]:
    """Lines over ``x``, each of its shape."""
    figure, axes = _figure(title, y_label)
    for name, values in lines.items():
        axes.plot(x, values, label=name, linewidth=1)
    axes.legend(frameon=False, fontsize=8)
    figure.autofmt_xdate()
    return _as_markdown(figure, title)


def bar_plot(values: Mapping[str, float], *, title: str, y_label: str) -> dg.MetadataValue[Any]:
    """One bar a name."""
    figure, axes = _figure(title, y_label)
    axes.bar(list(values), list(values.values()), color="#4f7cac")
    return _as_markdown(figure, title)


def curve_plot(
    x: np.ndarray,
    y: np.ndarray,
    *,
    marks: Mapping[str, tuple[float, float]],
    title: str,
    x_label: str,
    y_label: str,
) -> dg.MetadataValue[Any]:
    """A curve through (x, y), both (n,), and named points beside it."""
    figure, axes = _figure(title, y_label)
    axes.plot(x, y, color="#4f7cac", marker="o", markersize=3, linewidth=1)
    for name, (across, up) in marks.items():
        axes.plot(across, up, marker="D", linestyle="none", label=name)
    axes.set_xlabel(x_label)
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.legend(frameon=False, fontsize=8)
    return _as_markdown(figure, title)


def histogram(values: np.ndarray, *, title: str, x_label: str) -> dg.MetadataValue[Any]:
    """Distribution of the finite ``values``."""
    figure, axes = _figure(title, "rows")
    axes.hist(values[np.isfinite(values)], bins=40, color="#4f7cac")
    axes.set_xlabel(x_label)
    return _as_markdown(figure, title)


def png_metadata(png: bytes) -> dg.MetadataValue[Any]:
    """A PNG that was drawn elsewhere."""
    encoded = base64.b64encode(png).decode()
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{encoded})")


def _figure(title: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _as_markdown(figure: Figure, title: str) -> dg.MetadataValue[Any]:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")


def _cell(value: Any) -> float | int | str | bool:
    """A value that Dagster's table takes: a number, a flag or short text."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 4) if np.isfinite(value) else str(value)
    text = str(value)
    return text if len(text) <= _PREVIEW_CHARACTERS else f"{text[: _PREVIEW_CHARACTERS - 1]}…"


def _kind(value: float | int | str | bool) -> str:
    names = {bool: "boolean", int: "integer", float: "float"}
    return names.get(type(value), "string")
