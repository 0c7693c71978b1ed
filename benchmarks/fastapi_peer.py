"""The peer that the service is measured against: FastAPI, uvicorn and redis.asyncio.

The same work as it is commonly written: a pydantic request, the product's row read from Redis,
its price checked against its guard rails, a quote id, a latency histogram and a counter, a
pydantic answer. ``uvicorn benchmarks.fastapi_peer:app``; PEER_REDIS_URL names the Redis.
"""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

import orjson
from fastapi import FastAPI, HTTPException
from prometheus_client import Counter, Histogram
from pydantic import BaseModel
from redis.asyncio import Redis

ROW_KEY = "peer:price:"

app = FastAPI()
_redis = Redis.from_url(os.environ.get("PEER_REDIS_URL") or "redis://127.0.0.1:6379")
_latency = Histogram("peer_latency_seconds", "Time to answer.")
_quotes = Counter("peer_quotes", "Quotes answered.", ["source"])


class Question(BaseModel):
    """What is asked."""

    product_id: str
    current_stock: float | None = None
    day_of_week: str | None = None
    comp_price: float | None = None
    is_promo: bool | None = None


class Questions(BaseModel):
    """Many of them."""

    items: list[Question]


class Price(BaseModel):
    """What is answered."""

    product_id: str
    recommended_price: float
    confidence: float
    currency: str
    price_floor: float
    price_ceiling: float
    expected_units: float | None
    source: str
    reasons: list[str]
    table_version: str
    model_version: str
    quote_id: str


class Prices(BaseModel):
    """Many of them."""

    prices: list[Price]


@app.post("/get_price")
async def get_price(question: Question) -> Price:
    """One price."""
    started = time.perf_counter()
    row = await _redis.get(ROW_KEY + question.product_id)
    answer = _answer(row)
    _latency.observe(time.perf_counter() - started)
    return answer


@app.post("/get_prices")
async def get_prices(questions: Questions) -> Prices:
    """Many prices."""
    started = time.perf_counter()
    rows = await _redis.mget([ROW_KEY + item.product_id for item in questions.items])
    answer = Prices(prices=[_answer(row) for row in rows])
    _latency.observe(time.perf_counter() - started)
    return answer


def _answer(row: bytes | str | None) -> Price:
    if row is None:
        raise HTTPException(404, "unknown product")
    known: dict[str, Any] = orjson.loads(row)
    if not known["price_floor"] <= known["recommended_price"] <= known["price_ceiling"]:
        raise HTTPException(503, "outside the guard rails")
    _quotes.labels(source="redis").inc()
    return Price(**known, source="redis", quote_id=uuid.uuid4().hex)
