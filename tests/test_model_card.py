"""The papers of a model version: made from metadata alone, honest about what is not known."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from test_evaluation_report import evidence, numbers_of

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.evaluation.model_card import (
    CARD_FILE,
    FEATURES_FILE,
    METRICS_FILE,
    PREPROCESSING_FILE,
    model_documents,
)

BUNDLE = ModelBundle(
    {
        "forecaster.json": json_bytes(
            {"forecaster": "ensemble", "weights": {"lightgbm": 0.25, "ses_price": 0.75}}
        ),
        "lightgbm.forecaster.json": json_bytes(
            {"forecaster": "lightgbm", "features": ["level", "price"], "codes": {"brand": ["A"]}}
        ),
        "lightgbm.mean.lgb.txt": b"tree",
    }
)
SNAPSHOT = {
    "data_version": "0123456789abcdef",
    "data_until": "2024-06-01T00:00:00+00:00",
    "tables": {"sales": {"rows_read": 1000, "accepted": 990, "quarantined": 10}},
    "market": None,
}


def documents(**changes: object) -> dict[str, bytes]:
    numbers = numbers_of(truth=None, evidence=evidence(), **changes)
    return model_documents(BUNDLE, numbers=numbers, snapshot=SNAPSHOT)


def test_the_card_says_use_data_metrics_and_limits() -> None:
    card = documents()[CARD_FILE].decode()
    for heading in ("Intended use", "Data", "Metrics", "Elasticities", "Limits", "Files"):
        assert f"## {heading}" in card
    assert "weights lightgbm 0.25, ses_price 0.75" in card
    assert "| sales | 1,000 | 990 | 10 |" in card and "the data are real" in card
    assert "no profit uplift is claimed" in card
    assert "call for caution: placebo future price" in card
    for name, entry in BUNDLE.manifest().items():
        assert f"`{name}`" in card and str(entry["sha256"])[:16] in card


def test_features_and_preprocessing_are_data() -> None:
    files = documents()
    assert json.loads(files[FEATURES_FILE]) == {"lightgbm": ["level", "price"]}
    preprocessing = json.loads(files[PREPROCESSING_FILE])
    assert preprocessing["lightgbm.forecaster.json"] == {"codes": {"brand": ["A"]}}
    assert json.loads(files[METRICS_FILE])["accuracy"]["best_model"] == "lightgbm"


def test_plots_stand_alone_as_svg() -> None:
    files = documents()
    plots = [name for name in files if name.endswith(".svg")]
    assert len(plots) == 4
    for name in plots:
        assert ElementTree.fromstring(files[name]).tag == "{http://www.w3.org/2000/svg}svg"


def test_a_model_without_tests_or_elasticities_has_a_card_too() -> None:
    numbers = numbers_of(
        truth=None,
        backtest=pd.DataFrame({"model": [], "origin": [], "wape": []}),
        elasticities=pd.DataFrame(
            {"product_id": ["a"], "store_id": "", "own_price_elasticity": np.nan, "sd": np.nan}
            | {"low_90": np.nan, "high_90": np.nan, "method": "none"}
        ),
    )
    files = model_documents(BUNDLE, numbers=numbers, snapshot=SNAPSHOT)
    assert "None could be estimated." in files[CARD_FILE].decode()
    assert not [name for name in files if name.endswith(".svg")]
