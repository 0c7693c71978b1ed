"""The papers of a model version: its card, features, preprocessing, metrics and plots, as files.

Belongs here: what is said of a model, made from its own metadata and the run's report. After
Mitchell et al. (2019), Model Cards for Model Reporting. The model's files are ``core.bundle``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.evaluation.report_accuracy import calibration_charts, horizon_chart
from pricing_assets.core.evaluation.report_charts import forest
from pricing_assets.core.evaluation.report_plots import standalone
from pricing_assets.core.forecast.interface import METADATA_FILE

CARD_FILE = "README.md"
FEATURES_FILE = "features.json"
PREPROCESSING_FILE = "preprocessing.json"
METRICS_FILE = "metrics.json"

_NO_PREPROCESSING = ("features", "boosters", "forecaster", "members", "weights", "median_weights")
_METRICS = ("wape", "bias", "coverage_80", "rmsse")


def model_documents(
    bundle: ModelBundle, *, numbers: Mapping[str, Any], snapshot: Mapping[str, Any]
) -> dict[str, bytes]:
    """Files that stand beside the model's own, by name; SVG plots only where they have points.

    Args:
        bundle: the model.
        numbers: from ``evaluation_numbers``.
        snapshot: the data snapshot: data_version, data_until, tables.
    """
    states = _states(bundle)
    order = [str(row["model"]) for row in numbers["accuracy"]["models"]]
    quantiles, means = calibration_charts(numbers["calibration"], order)
    plots = {
        "plot_accuracy_by_horizon.svg": horizon_chart(numbers["slices"], order),
        "plot_calibration_of_quantiles.svg": quantiles,
        "plot_calibration_of_means.svg": means,
        "plot_elasticities.svg": forest(
            numbers["elasticity"]["forest"], label="Own-price elasticities with 90 % intervals"
        ),
    }
    metrics = {name: numbers[name] for name in ("accuracy", "slices", "calibration", "gates")}
    return {
        CARD_FILE: model_card(bundle, numbers=numbers, snapshot=snapshot).encode(),
        FEATURES_FILE: json_bytes(_features(states)),
        PREPROCESSING_FILE: json_bytes(_preprocessing(states)),
        METRICS_FILE: json_bytes(metrics),
        **{name: standalone(svg).encode() for name, svg in plots.items() if svg},
    }


def model_card(
    bundle: ModelBundle, *, numbers: Mapping[str, Any], snapshot: Mapping[str, Any]
) -> str:
    """The card as Markdown: use, data, metrics, limits, files."""
    states = _states(bundle)
    forecaster = str(states[METADATA_FILE]["forecaster"])
    horizon = numbers["settings"]["horizon_days"]
    return "\n".join(
        [
            "# Model card: pricing-demand",
            "",
            f"A demand forecaster (`{forecaster}`, {_structure(states)}) over the next {horizon} "
            "days, and the own-price elasticities that were estimated beside it.",
            "",
            *_use(numbers),
            *_data(snapshot, states),
            *_metrics(numbers),
            *_elasticity(numbers["elasticity"], numbers["sensitivity"]),
            *_limits(numbers),
            *_files(bundle),
        ]
    )


def _states(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Metadata of the chosen forecaster, its members and the fallbacks, by file."""
    names = [name for name in bundle.files if name.endswith(METADATA_FILE)]
    return {name: bundle.json(name) for name in sorted(names)}


def _features(states: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    return {
        str(state["forecaster"]): list(state["features"])
        for state in states.values()
        if "features" in state
    }


def _preprocessing(states: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Codes of categories, scales and interval calibration: all that is not a weight."""
    return {
        name: {key: value for key, value in state.items() if key not in _NO_PREPROCESSING}
        for name, state in states.items()
    }


def _structure(states: Mapping[str, Mapping[str, Any]]) -> str:
    weights = states[METADATA_FILE].get("weights")
    if not isinstance(weights, Mapping):
        return "one model"
    return "weights " + ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())


def _use(numbers: Mapping[str, Any]) -> list[str]:
    return [
        "## Intended use",
        "",
        f"- Expected units of each product and store at planned or current prices, with 10, 50 and "
        f"90 % quantiles, as the level of the demand curves that prices are chosen from "
        f"(objective: {numbers['settings']['objective']}).",
        "- For people who set prices inside guard rails, with a gate before publication.",
        "- Not for prices of one customer: it knows no person, and no personal data may enter it.",
        "- Not for the effect of a price far from those that were charged; prices outside them are "
        "marked as extrapolation.",
        "",
    ]


def _data(snapshot: Mapping[str, Any], states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    counts = ", ".join(f"{name} {len(names)}" for name, names in _features(states).items())
    rows = [
        f"| {name} | {row['rows_read']:,} | {row['accepted']:,} | {row['quarantined']:,} |"
        for name, row in snapshot["tables"].items()
    ]
    kind = "simulated, with a known truth" if snapshot.get("market") else "real"
    return [
        "## Data",
        "",
        f"Data version `{snapshot['data_version']}`, up to {snapshot['data_until'][:10]}; the data "
        f"are {kind}.",
        "",
        "| raw table | rows read | accepted | set aside |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Features by forecaster: {counts or 'none'}; their names are in `{FEATURES_FILE}`. Codes "
        f"of categories, scales and interval calibration are in `{PREPROCESSING_FILE}`, as data.",
        "",
    ]


def _metrics(numbers: Mapping[str, Any]) -> list[str]:
    accuracy = numbers["accuracy"]
    rows = [
        "| "
        + " | ".join([str(row["model"]), *(_number(row.get(name)) for name in _METRICS)])
        + " |"
        for row in accuracy["models"]
    ]
    cold = [
        f"| {row['level']} | {row['model']} | {row['cells']:,} | {_number(row['wape'])} |"
        for row in numbers["slices"]
        if row["by"] == "history" and row["model"] == accuracy.get("best_model")
    ]
    return [
        "## Metrics",
        "",
        f"Walk-forward over {len(accuracy['origins'])} origin(s), periods that no model had seen.",
        "",
        "| model | " + " | ".join(_METRICS) + " |",
        "|---" * (len(_METRICS) + 1) + "|",
        *rows,
        "",
        *(["By history (cold start):", ""] if cold else []),
        *(["| sold for | model | cells | WAPE |", "|---|---|---|---|", *cold, ""] if cold else []),
    ]


def _elasticity(elasticity: Mapping[str, Any], tests: Sequence[Mapping[str, Any]]) -> list[str]:
    if not elasticity["known"]:
        return ["## Elasticities", "", "None could be estimated.", ""]
    failed = [str(row["test"]).replace("_", " ") for row in tests if not row["passed"]]
    methods = ", ".join(f"{name} ({count})" for name, count in elasticity["methods"].items())
    return [
        "## Elasticities",
        "",
        f"{elasticity['known']:,} series, median {elasticity['median']:.2f}, 90 % of them between "
        f"{elasticity['low']:.2f} and {elasticity['high']:.2f}, median posterior deviation "
        f"{elasticity['median_sd']:.2f}; by {methods}.",
        f"Sensitivity tests that call for caution: {', '.join(failed) or 'none'}.",
        "",
    ]


def _limits(numbers: Mapping[str, Any]) -> list[str]:
    return [
        "## Limits",
        "",
        f"- {numbers['claim']}",
        "- On observational data no estimator removes all confounding.",
        "- Products without price changes have their category's elasticity, and low confidence.",
        "- Sold-out days are treated as lower bounds of demand, which needs a recorded stock.",
        "",
    ]


def _files(bundle: ModelBundle) -> list[str]:
    rows = [
        f"| `{name}` | {entry['bytes']:,} | `{str(entry['sha256'])[:16]}…` |"
        for name, entry in bundle.manifest().items()
    ]
    return [
        "## Files",
        "",
        "Native formats, no pickle; `manifest.json` has each file's SHA-256, which is checked "
        "before a byte is parsed.",
        "",
        "| file | bytes | SHA-256 |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
