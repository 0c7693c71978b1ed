"""The report's parts on elasticity: forest plot, estimators side by side, sensitivity, placebo.

Belongs here: drawing. The numbers are ``report``'s and those of ``core.elasticity``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pricing_assets.core.evaluation.report_charts import forest, histogram
from pricing_assets.core.evaluation.report_parts import (
    cell,
    count_text,
    data_table,
    number_text,
    percent_text,
    section,
    spaced,
    tile_list,
)

Rows = Sequence[Mapping[str, Any]]


def elasticity_section(elasticity: Mapping[str, Any]) -> str:
    """Histogram and forest plot of the elasticities, with 90 % intervals."""
    if not elasticity["known"]:
        return section("Own-price elasticity", "<p>No elasticity could be estimated.</p>")
    tiles = [
        ("products with an estimate", count_text(elasticity["known"])),
        ("median", number_text(elasticity["median"], 2)),
        ("90 % of products", f"{elasticity['low']:.2f} to {elasticity['high']:.2f}"),
        ("median posterior deviation", number_text(elasticity["median_sd"], 2)),
        ("inelastic (above −1)", percent_text(elasticity["inelastic_share"])),
        *(
            (f"by {spaced(name).replace('+', ', ')}", count_text(count))
            for name, count in elasticity["methods"].items()
        ),
    ]
    charts = (
        '<h3 class="soft">All estimates</h3>'
        + histogram(elasticity["histogram"], label="Histogram of own-price elasticities")
        + '<h3 class="soft">Products evenly spaced through the range, with 90 % intervals</h3>'
        + forest(elasticity["forest"], label="Own-price elasticities with 90 % intervals")
    )
    return section("Own-price elasticity", tile_list(tiles) + charts)


def methods_section(rows: Rows) -> str:
    """Every estimator's mean slope and interval beside the chosen one's; "" without rows."""
    if not rows:
        return ""
    drawn = [
        {
            "product_id": spaced(str(row["method"])) + (" (used)" if row["chosen"] else ""),
            "own_price_elasticity": row["pooled_mean"],
            "low_90": row["low_90"],
            "high_90": row["high_90"],
        }
        for row in rows
        if row["pooled_mean"] is not None
    ]
    cells = [
        [
            cell(spaced(str(row["method"])), "text id"),
            cell("used" if row["chosen"] else "", "text"),
            cell(number_text(row["pooled_mean"], 2)),
            cell(_interval(row)),
            cell(number_text(row["first_stage_f"], 1)),
            cell(str(row["reason"] or ""), "text why"),
        ]
        for row in rows
    ]
    chart = forest(drawn, label="Mean elasticity by estimator, with 90 % intervals")
    intro = (
        '<p class="soft">What each estimator says of the whole assortment before any prior. They '
        "rest on different assumptions, so a gap between them shows what confounding would do."
        "</p>"
    )
    heads = ["estimator", "", "mean", "90 % interval", "first-stage F", "why"]
    table = data_table(heads, cells, text=(0, 1, 5))
    return section("Estimators side by side", intro + chart + table)


def sensitivity_section(rows: Rows) -> str:
    """Placebo, unseen confounder and stability, each with its verdict; "" without rows."""
    if not rows:
        return ""
    cells = [
        [
            cell(spaced(str(row["test"])), "text id"),
            cell(number_text(row["value"], 3)),
            cell(_interval(row, digits=3)),
            cell("" if row["passed"] else "caution", "text down"),
            cell(str(row["meaning"]), "text why"),
        ]
        for row in rows
    ]
    cautions = sum(not row["passed"] for row in rows)
    verdict = (
        f"{cautions} of {len(rows)} call for caution." if cautions else "None calls for caution."
    )
    heads = ["test", "value", "90 % interval", "", "what it says"]
    body = f"<p>{verdict}</p>" + data_table(heads, cells, text=(0, 3, 4))
    return section("Sensitivity and placebo", body)


def _interval(row: Mapping[str, Any], digits: int = 2) -> str:
    if row["low_90"] is None or row["high_90"] is None:
        return "–"
    return f"{row['low_90']:.{digits}f} to {row['high_90']:.{digits}f}"
