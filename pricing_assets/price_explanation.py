"""What drives a published or a served price, in lines for a person. No Dagster is loaded.

Belongs here: finding the drivers of one product, the record of one quote, and printing them. The
numbers are ``core.evaluation.price_drivers``' and ``serving.explain``'s.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from upath import UPath

from pricing_assets.core.errors import UnknownProductError, nearest
from pricing_assets.core.settings import PricingSettings
from resources.asset_store import load_value
from serving.audit_reader import ChainReport, verify
from serving.explain import Explainer
from serving.home import Home
from serving.lineage_record import lineage_of
from serving.price_store import PriceStore

_PARTS = {
    "price on each unit sold": "gain_from_price",
    "units gained or lost": "gain_from_units",
    "similar products": "gain_from_substitutes",
    "together": "gain",
}
_TRUST = {
    "elasticity": "confidence_elasticity",
    "history": "confidence_history",
    "chance of no less": "confidence_safety",
    "prices seen": "confidence_support",
}


def explanation_lines(home: Home, *, product_id: str) -> list[str]:
    """The drivers of the published price of one product, in every store.

    Raises:
        NotPublishedError: nothing was published in this home, or its run explains no price.
        UnknownProductError: the published table has no such product.
        IntegrityError: stored bytes are damaged.
    """
    table = PriceStore(home.tables).read_current()
    prices = table.prices.to_pandas()
    published = prices[prices["product_id"] == product_id]
    if published.empty:
        known = prices["product_id"].astype(str).unique().tolist()
        raise UnknownProductError(
            f"no price is published for product '{product_id}'{nearest(product_id, known)}; "
            "pricing export lists all"
        )
    rows = _drivers_of(home, published)
    return [line for row in rows for line in _lines(row, version=table.version)]


def quote_explanation(home: Home, *, quote_id: str) -> dict[str, Any]:
    """Why a served price is what it is, as ``serving.explain`` gives it.

    Raises:
        UnknownQuoteError: the quote is not in this home's audit log.
    """
    explainer = Explainer(
        store=PriceStore(home.tables), audit=home.audit, settings=PricingSettings()
    )
    found = explainer.explain(quote_id)
    if "lineage" in found:
        found["lineage"] |= _kept_lineage(home, found["lineage"])
    return found


def _kept_lineage(home: Home, lineage: dict[str, Any]) -> dict[str, Any]:
    """Features, curves and raw parts of the model version; empty where none was kept."""
    record = lineage_of(home.reports, model_version=lineage["model_version"])
    if record is None or record.data_version != lineage["data_version"]:
        return {}
    return {
        "features_version": record.features_version,
        "curves_version": record.curves_version,
        "raw_parts": record.partitions,
    }


def quote_lines(found: dict[str, Any]) -> list[str]:
    """An explanation of one quote for a person."""
    served, audit = found["served"], found["audit"]
    lines = [
        f"quote {found['quote_id']} of {found['quoted_at']}",
        f"  {served['product_id']} at {served['recommended_price']} {served['currency']}, "
        f"source {served['source']}: {found.get('how', 'not recomputed')}",
        f"  asked: {json.dumps(found['request'], ensure_ascii=False)}",
        *([f"  from the feature store: {found['context']['used']}"] if found["context"] else []),
        _reproduced_line(found),
        *(f"    {difference}" for difference in found["differences"]),
        f"  record: {audit['segment']}, block "
        f"{'intact' if audit['block_intact'] else 'NOT INTACT (or not sealed yet)'}",
    ]
    if "drivers" not in found:
        return lines
    return lines + _driver_lines(found) + _rail_lines(found) + _lineage_lines(found)


def _reproduced_line(found: dict[str, Any]) -> str:
    if found["reproduced"]:
        return f"  reproduced: yes, {found['recomputed_price']} again, to the last bit"
    return "  reproduced: NO"


def _driver_lines(found: dict[str, Any]) -> list[str]:
    lines = ["  how the price came about:"]
    for step in found["drivers"]:
        move = "" if not step["move"] else f" ({step['move']:+.2f})"
        lines.append(f"    {step['step']:<26} {step['price']:>10.2f}{move}  {step['because']}")
    expected = found["expected"]
    if expected is None:
        return lines
    mean, sd = expected["own_price_elasticity"], expected["own_price_elasticity_sd"]
    lines.append(
        f"  expected over {expected['horizon_days']} days, own-price elasticity "
        f"{mean:.2f} ± {sd:.2f}:"
    )
    for name in ("at_current_price", "at_served_price"):
        row = expected[name]
        profit = "unknown" if row["profit"] is None else f"{row['profit']:,.2f}"
        lines.append(
            f"    {name.replace('_', ' '):<17} {row['price']:>10.2f}: {row['units']:,.1f} units, "
            f"revenue {row['revenue']:,.2f}, profit {profit}"
        )
    return lines


def _rail_lines(found: dict[str, Any]) -> list[str]:
    rails = found["guard_rails"]
    lines = [f"  guard rails: {rails['floor']} to {rails['ceiling']}"]
    return lines + [f"    {rule['rule']}: {rule['sentence']}" for rule in rails["hit"]]


def _lineage_lines(found: dict[str, Any]) -> list[str]:
    lineage = found["lineage"]
    names = (
        "table_version",
        "model_version",
        "mlflow_run_id",
        "dagster_run_id",
        "features_version",
        "data_version",
        "rules_version",
        "settings_version",
    )
    lines = [f"    {name:<17} {lineage.get(name) or 'not recorded'}" for name in names]
    parts = [f"{table} {_span(found)}" for table, found in lineage.get("raw_parts", {}).items()]
    return ["  from:", *lines, *([f"    raw rows          {', '.join(parts)}"] if parts else [])]


def _span(parts: dict[str, str]) -> str:
    first, last = min(parts), max(parts)
    return first if first == last else f"{first} to {last}"


def audit_lines(home: Home) -> tuple[list[str], bool]:
    """What checking this home's audit log found, and whether all of it is intact."""
    reports = verify(home.audit)
    lines = [_audit_line(report) for report in reports]
    problems = [f"  {report.chain}: {problem}" for report in reports for problem in report.problems]
    quotes = sum(report.quotes for report in reports)
    intact = not problems
    summary = f"{len(reports)} chains, {quotes:,} quotes on record: " + (
        "intact" if intact else "NOT INTACT"
    )
    return [*lines, *problems, summary], intact


def _audit_line(report: ChainReport) -> str:
    end = "closed" if report.closed else "open, or its worker was killed"
    torn = f", {report.unsealed_bytes} bytes not sealed" if report.unsealed_bytes else ""
    return (
        f"chain {report.chain}: {report.files} files, {report.blocks} blocks, {report.quotes:,} "
        f"quotes, head {report.head[:16]}, {end}{torn}"
    )


def _drivers_of(home: Home, published: pd.DataFrame) -> list[dict[Any, Any]]:
    """Records of ``price_drivers`` with the published price beside them."""
    key = ["product_id", "store_id"]
    drivers = load_value(UPath(home.assets) / "price_drivers")
    prices = published[[*key, "recommended_price"]]
    prices = prices.rename(columns={"recommended_price": "published_price"})
    return prices.merge(drivers, on=key, how="inner").to_dict("records")


def _lines(row: dict[Any, Any], *, version: str) -> list[str]:
    store = f" in {row['store_id']}" if row["store_id"] else ""
    lines = [
        f"product {row['product_id']}{store}, table {version}",
        f"  {row['sentence']}",
        f"  gain in {row['objective']} over {row['horizon_days']} days:",
        *(f"    {name:<24} {_number(row[column])}" for name, column in _PARTS.items()),
        f"  weight of its own data in the elasticity: {row['own_data_weight']:.0%}",
        "  confidence " + ", ".join(f"{name} {row[column]:.2f}" for name, column in _TRUST.items()),
    ]
    if not np.isclose(row["published_price"], row["recommended_price"], equal_nan=True):
        lines.append(
            f"  the published price is {row['published_price']:.2f}: what is explained here is the "
            f"last run's, {row['recommended_price']:.2f}"
        )
    return lines


def _number(value: float) -> str:
    return f"{value:+12,.2f}" if np.isfinite(value) else f"{'unknown':>12}"
