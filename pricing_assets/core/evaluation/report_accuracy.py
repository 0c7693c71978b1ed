"""The report's part on held-out accuracy: against every baseline, apart by group, calibrated.

Belongs here: drawing. The numbers are ``accuracy_slices`` and ``calibration_table``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pricing_assets.core.evaluation.report_charts import bars
from pricing_assets.core.evaluation.report_parts import (
    cell,
    count_text,
    data_table,
    number_text,
    percent_text,
    section,
)
from pricing_assets.core.evaluation.report_plots import Axis, lines

Rows = Sequence[Mapping[str, Any]]

_TITLES = {
    "horizon": "By horizon",
    "category": "By category",
    "price_band": "By price band: quarters of the products by their price",
    "price_move": "By price move: the held-out price against the last one known",
    "history": "By history: cold start",
}
_QUANTILE_NAMES = ("10 %", "50 %", "90 %")


def accuracy_section(numbers: Mapping[str, Any]) -> str:
    """The section on held-out accuracy; one sentence where nothing could be tested."""
    accuracy = numbers["accuracy"]
    models = accuracy["models"]
    title = "Forecast accuracy" if numbers["truth"] else "Forecast accuracy: the held-out fit"
    if not models:
        return section(title, "<p>There was too little history to test on.</p>")
    intro = (
        f'<p class="soft">Walk-forward over {len(accuracy["origins"])} origin(s): each model sees '
        "only what was known then. WAPE is the sum of absolute errors over the sum of sales.</p>"
    )
    order = [str(model["model"]) for model in models]
    parts = [intro, _overall(models), _slices(numbers["slices"], order)]
    return section(title, "".join(parts)) + _calibration(numbers["calibration"], order)


def _overall(models: Rows) -> str:
    metrics = [name for name in models[0] if name != "model"]
    rows = [
        [
            cell(str(model["model"]), "text id"),
            *(cell(number_text(model[name], 3)) for name in metrics),
        ]
        for model in models
    ]
    chart = bars(
        [(str(model["model"]), float(model["wape"] or 0)) for model in models],
        label="WAPE of each model on periods it had not seen",
        form=lambda value: f"{value:.3f}",
    )
    return chart + data_table(["model", *metrics], rows, text=(0,), best=0)


def _slices(rows: Rows, order: Sequence[str]) -> str:
    parts = []
    for by, title in _TITLES.items():
        chosen = [row for row in rows if row["by"] == by]
        if chosen:
            chart = horizon_chart(rows, order) if by == "horizon" else ""
            parts.append(f"<h3>{title}</h3>" + chart + _slice_table(chosen, order))
    return "".join(parts)


def _slice_table(rows: Rows, order: Sequence[str]) -> str:
    """WAPE by group and model, the least of a row in bold; then the best model's bias and cover."""
    found = {(row["level"], row["model"]): row for row in rows}
    levels = list(dict.fromkeys(row["level"] for row in rows))
    best = order[0]
    body = []
    for level in levels:
        values = [(found.get((level, model)) or {}).get("wape") for model in order]
        known = [value for value in values if value is not None]
        row = found.get((level, best)) or next(item for item in rows if item["level"] == level)
        body.append(
            [
                cell(str(level), "text id"),
                cell(count_text(row["cells"])),
                cell(count_text(row["units"])),
                *(
                    cell(number_text(value, 3), "least" if known and value == min(known) else "")
                    for value in values
                ),
                cell(percent_text(row["bias"], signed=True, digits=1)),
                cell(percent_text(row["coverage_80"])),
            ]
        )
    heads = ["WAPE", "cells", "units", *order, f"bias of {best}", "in its 80 % interval"]
    return data_table(heads, body, text=(0,))


def horizon_chart(slices: Rows, order: Sequence[str]) -> str:
    """WAPE by weeks ahead, a line a model; "" where the horizon is one group."""
    rows = [row for row in slices if row["by"] == "horizon"]
    levels = list(dict.fromkeys(str(row["level"]) for row in rows))
    if len(levels) < 2:
        return ""
    series = {
        model: [
            (float(levels.index(str(row["level"]))), float(row["wape"]))
            for row in rows
            if row["model"] == model and row["wape"] is not None
        ]
        for model in order
    }
    return lines(
        {name: points for name, points in series.items() if points},
        x=Axis("weeks ahead", ticks=tuple(level.split(maxsplit=1)[1] for level in levels)),
        y=Axis("WAPE", form="{:.2f}".format),
        label="WAPE by weeks ahead and model",
        from_zero=True,
    )


def _calibration(rows: Rows, order: Sequence[str]) -> str:
    if not rows:
        return ""
    quantiles, means = calibration_charts(rows, order)
    intro = (
        '<p class="soft">On the dashed line a forecast is as sure as it should be, and its mean is '
        "right on average. Points above it on the left: more actuals below the quantile than it "
        "says.</p>"
    )
    figures = (
        '<div class="two"><div><h3>Quantiles against shares of actuals below</h3>'
        f"{quantiles}</div><div><h3>Predicted against actual means, by tenths of the prediction"
        f"</h3>{means}</div></div>"
    )
    return section("Calibration", intro + figures + _quantile_table(rows, order))


def calibration_charts(rows: Rows, order: Sequence[str]) -> tuple[str, str]:
    """Quantiles against shares, and predicted against actual means; "" without points."""
    quantiles = _points([row for row in rows if row["kind"] == "quantile"], order)
    means = _points(
        [row for row in rows if row["kind"] == "mean" and row["expected"] and row["observed"]],
        order,
    )
    share = Axis("quantile's probability", form="{:.0%}".format)
    quantile_chart = lines(
        quantiles,
        x=share,
        y=Axis("share of actuals below", form="{:.0%}".format),
        label="Shares of actuals below the 10, 50 and 90 % quantiles, by model",
        diagonal=True,
    )
    mean_chart = lines(
        means,
        x=Axis("mean predicted units a period", log=True),
        y=Axis("mean units sold a period", log=True),
        label="Predicted and actual mean units by tenths of the prediction, by model",
        diagonal=True,
    )
    return quantile_chart, mean_chart


def _points(rows: Rows, order: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    found = {
        model: [
            (float(row["expected"]), float(row["observed"]))
            for row in rows
            if row["model"] == model
        ]
        for model in order
    }
    return {name: points for name, points in found.items() if points}


def _quantile_table(rows: Rows, order: Sequence[str]) -> str:
    found = {(row["model"], row["level"]): row for row in rows if row["kind"] == "quantile"}
    cells = [
        [
            cell(model, "text id"),
            *(
                cell(percent_text((found.get((model, level)) or {}).get("observed"), digits=1))
                for level in ("q10", "q50", "q90")
            ),
        ]
        for model in order
    ]
    heads = ["model", *(f"below its {name} quantile" for name in _QUANTILE_NAMES)]
    return data_table(heads, cells, text=(0,))
