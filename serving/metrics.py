"""What the service counts, under the contract's names.

Belongs here: names, buckets and the figures that are only right when added up over the workers.
With several workers prometheus_client keeps the values in files that every worker reads.
"""

from __future__ import annotations

import re

from prometheus_client import Counter, Gauge, Histogram

API_LATENCY = Histogram(
    "pricing_api_latency_seconds",
    "Time from the request's last byte to the answer.",
    ["endpoint"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
BATCH_TIME = Histogram(
    "gpu_batch_processing_time",
    "Seconds to price one batch of get_prices; the label names the device that did it.",
    ["device"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10),
)
INFERENCE_TIME = Histogram(
    "model_inference_time",
    "Seconds to re-optimise one price live from its demand curve.",
    buckets=(0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05),
)
PRICE_CHANGE = Histogram(
    "price_change_magnitude",
    "Served price against the product's current price, as an absolute share.",
    buckets=(0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
)
REVENUE_IMPACT = Gauge(
    "revenue_impact",
    "Expected revenue of the published prices less that of the current prices, over the horizon, "
    "in currency units: an expectation of the model, not a measured gain.",
    ["currency"],
    multiprocess_mode="mostrecent",
)
QUOTES = Counter("pricing_quotes", "Quotes answered, by rung of the fallback ladder.", ["source"])
ERRORS = Counter("pricing_errors", "Requests or items refused, by HTTP status.", ["status"])
GUARD_RAIL_REFUSALS = Counter(
    "pricing_guard_rail_refusals",
    "Prices stopped by the last check, by where they came from.",
    ["origin"],
)
RUNG_FAILURES = Counter(
    "pricing_rung_failures",
    "Rungs of the fallback ladder that should have answered and could not, so that the next did.",
    ["rung"],
)
CACHE_LOOKUPS = Counter(
    "pricing_cache_lookups", "Quotes by where they were found; computed means nowhere.", ["tier"]
)
REDIS_FAILURES = Counter("pricing_redis_failures", "Exchanges with Redis that failed.")
BREAKER_OPEN = Gauge(
    "pricing_redis_breaker_open", "Workers that do not ask Redis now.", multiprocess_mode="livesum"
)
TABLE_LOADS = Counter("pricing_table_loads", "Published tables taken up or refused.", ["outcome"])
VALID_UNTIL = Gauge(
    "pricing_table_valid_until_seconds",
    "Unix time at which the table in use expires.",
    multiprocess_mode="livemin",
)
PUBLISHED_AT = Gauge(
    "pricing_table_published_at_seconds",
    "Unix time of publication of the table in use; the oldest over the workers.",
    multiprocess_mode="livemin",
)
AUDIT_RECORDS = Counter(
    "pricing_audit_records", "Records written to the audit log; a batch of quotes is one."
)
AUDIT_REFUSALS = Counter(
    "pricing_audit_refusals", "Requests refused because no price could be put on record."
)
AUDIT_FAILURES = Counter("pricing_audit_failures", "Writes to the audit log that failed.")
FROZEN = Gauge(
    "pricing_frozen_products",
    "Products that are frozen; -1 when all are.",
    multiprocess_mode="mostrecent",
)

# A labelled metric shows only once it has a child; an operator's rules need it from the start.
for _origin in ("live", "cache", "table", "rule"):
    GUARD_RAIL_REFUSALS.labels(origin=_origin)
for _source in ("table", "live", "cache", "rule", "current", "frozen", "held"):
    QUOTES.labels(source=_source)
for _rung in ("live", "table", "rule"):
    RUNG_FAILURES.labels(rung=_rung)
for _tier in ("table", "worker", "redis", "computed"):
    CACHE_LOOKUPS.labels(tier=_tier)
BATCH_TIME.labels(device="cpu")

_LOOKUP = re.compile(r'^pricing_cache_lookups_total\{tier="(\w+)"\} (\S+)$', re.MULTILINE)


def with_hit_ratio(exposition: str) -> str:
    """``exposition`` with cache_hit_ratio, from counters that are summed over the workers."""
    counts = {tier: float(value) for tier, value in _LOOKUP.findall(exposition)}
    total = sum(counts.values())
    ratio = (total - counts.get("computed", 0.0)) / total if total else 0.0
    return (
        f"{exposition}# HELP cache_hit_ratio Share of quotes answered without computing a price: "
        "from the table in memory, the worker's cache or Redis.\n"
        f"# TYPE cache_hit_ratio gauge\ncache_hit_ratio {ratio}\n"
    )
