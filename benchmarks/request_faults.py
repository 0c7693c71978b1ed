"""Ask the service too much, wrongly, or for the past, and say what it answered.

Belongs here: overload, requests that must be refused, and the replay of what was served. Faults of
what the service stands on are ``service_faults``.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from benchmarks.fault_report import Finding, Lengths, Report
from benchmarks.fault_stage import CONTEXT, CURVES, PRODUCTS, Stage, mixed_bodies, stage
from benchmarks.load import CONNECTIONS, Load, drive
from pricing_assets.core.settings import PricingSettings
from serving.audit_format import SegmentFile, segments
from serving.audit_reader import FoundQuote, blocks, verify
from serving.explain import Explainer
from tests.published_tables import price_table, stamps

LARGE_BODY = 60 * 2**20
TOKEN = "a-token-for-the-fault-run"
OVERLOAD = 10
SERVER_CORE, LOAD_CORE = 0, 1


def overload(folder: Path, lengths: Lengths) -> Report:
    """Ten times the connections that reach the peak; probes see what a caller sees."""
    name = f"{OVERLOAD}x overload {lengths.overload:g} s"
    with stage(folder) as built, _on_core(LOAD_CORE):
        built.pin(SERVER_CORE)
        bodies = folder / "bodies.jsonl"
        bodies.write_text("".join(json.dumps(body) + "\n" for body in islice(mixed_bodies(), 4000)))
        _driven(built, bodies, seconds=3, connections=CONNECTIONS)
        peak = _driven(built, bodies, seconds=lengths.base, connections=CONNECTIONS)
        probes = built.load(connections=8, pause_seconds=0.02)
        with probes.running():
            seconds = lengths.overload
            much = _driven(built, bodies, seconds=seconds, connections=OVERLOAD * CONNECTIONS)
            ended = time.monotonic()
            time.sleep(5)
        after = probes.between(ended, time.monotonic()).seen
        late = [one.at - ended for one in after if one.status != 200]
        goodput = much.per_second / peak.per_second
        sys.stderr.write(f"{name}: peak {peak}, overload {much}\n")
        return [
            Finding(name, "goodput against peak", goodput, 0.9, at_least=True, timing=True),
            Finding(name, "neither a price nor 429", probes.all.failures, 0),
            Finding(name, "p99 ms of a 429", _or_zero(probes.all.p99_ms(429)), 50, timing=True),
            Finding(name, "seconds until none is refused", max(late, default=0), 5, timing=True),
            Finding(name, "prices that may not be served", len(probes.wrong()), 0),
        ]


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Keep this process, which asks, off the core of the service."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _driven(built: Stage, bodies: Path, *, seconds: float, connections: int) -> Load:
    return drive(
        f"http://127.0.0.1:{built.port}",
        path="/get_price",
        bodies=bodies,
        seconds=seconds,
        core=LOAD_CORE,
        connections=connections,
    )


def _or_zero(value: float) -> float:
    """0 where nothing was seen: NaN compares with no bar."""
    return 0.0 if value != value else value


def doors(folder: Path, lengths: Lengths) -> Report:
    """What must not come in, and with which status it is refused."""
    name = "refused at the door"
    body = b'{"product_id": "SKU-1"}'
    kinds = ["application/vnd.bentoml+pickle", "text/plain", "application/x-www-form-urlencoded"]
    cases: list[tuple[str, int, bytes, dict[str, str]]] = [
        *((kind, 415, body, {"Content-Type": kind}) for kind in kinds),
        ("foreign Host", 403, body, {"Host": "evil.example"}),
    ]
    with stage(folder / "open") as built:
        wrong = [_refused(built, *case) for case in cases]
        wrong.append(_status_of_large_body(built) != 413)
    os.environ["PRICING_API_TOKEN"] = TOKEN
    try:
        with stage(folder / "locked") as built:
            wrong.append(_refused(built, "no token", 401, body, {}))
            wrong.append(_refused(built, "token", 200, body, {"Authorization": f"Bearer {TOKEN}"}))
    finally:
        del os.environ["PRICING_API_TOKEN"]
    return [Finding(name, f"of {len(wrong)} cases with another status", sum(wrong), 0)]


def _refused(built: Stage, what: str, status: int, body: bytes, headers: dict[str, str]) -> bool:
    """Whether the status is another."""
    found = built.post("/get_price", body, headers=headers)[0]
    if found != status:
        sys.stderr.write(f"{what}: {found} instead of {status}\n")
    return found != status


def _status_of_large_body(built: Stage) -> int:
    """The status that comes before a body of LARGE_BODY bytes is sent."""
    with socket.create_connection(("127.0.0.1", built.port), timeout=30) as connection:
        head = "POST /get_prices HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {LARGE_BODY}\r\n\r\n".encode() + b" " * 1000)
        return int(connection.recv(12)[9:12])


def odd_numbers_and_ids(folder: Path, lengths: Lengths) -> Report:
    """Numbers that are none, ids that are huge or look alike: 4xx, and no collision."""
    name = "odd numbers and ids"
    with stage(folder) as built:
        _publish_odd_ids(built)
        statuses = [built.post("/get_price", body)[0] for body in _odd_bodies()]
        unclear = sum(not 400 <= status < 500 for status in statuses)
        mixed = 0
        for product, price in built.prices[_ready_version(built)].items():
            answer = built.price({"product_id": product})
            live = built.price({"product_id": product, "current_stock": 30})
            mixed += answer["recommended_price"] != price or answer["product_id"] != product
            mixed += live["product_id"] != product
        return [
            Finding(name, f"of {len(statuses)} not answered with 4xx", unclear, 0),
            Finding(name, "answers of another product", mixed, 0),
        ]


ODD_IDS = [
    *(unicodedata.normalize(form, "SKU-é") for form in ("NFC", "NFD")),
    *("SKU-\u202eevil", "SKU-evil", "sku-evil", "SKU evil", " SKU-evil", "SKU-\u200bevil"),
    *("SKU-A", "SKU-\u0410", "SKU-\uff21", "a:b", "a::b", 'a"b', "a\\b", "a|b", "\U0001f600" * 50),
]
"""Different products whose ids look alike, or would meet in a careless key."""


def _publish_odd_ids(built: Stage) -> None:
    curves = CURVES.slice(0, len(ODD_IDS))
    place = curves.schema.get_field_index("product_id")
    curves = curves.set_column(place, "product_id", pa.array(ODD_IDS))
    prices, now = price_table(curves), datetime.now(UTC)
    version = built.store.publish(
        prices=prices, curves=curves, stamps=stamps(now=now), now=now
    ).table_version
    built.prices[version] = dict(zip(ODD_IDS, prices["recommended_price"].to_pylist(), strict=True))
    deadline = time.monotonic() + 20
    while _ready_version(built) != version and time.monotonic() < deadline:
        time.sleep(0.1)


def _ready_version(built: Stage) -> str:
    return str(json.loads(built.get("/readyz")[1])["table_version"])


def _odd_bodies() -> Iterator[bytes]:
    for field in ("comp_price", "current_stock", "current_price", "unit_cost"):
        for number in ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "-1", "1e300", "1" * 400):
            yield f'{{"product_id": "SKU-evil", "{field}": {number}}}'.encode()
    for product in ('"a\\u0000b"', '"\\ud800"', '"\\u0085"', '""', "null", "7", "[]", "{}"):
        yield f'{{"product_id": {product}}}'.encode()
    yield b'{"product_id": "' + b"x" * 2**20 + b'"}'
    yield b'{"product_id": "\xff\xfe"}'
    yield b'{"product_id": "\xc3\xa9'
    yield b'{"product_id": "not in any table"}'


def fuzzed(folder: Path, lengths: Lengths) -> Report:
    """schemathesis over the service's own OpenAPI description."""
    name = "schemathesis over OpenAPI"
    examples = "20" if lengths.overload < 10 else "200"
    program = Path(sys.executable).with_name("schemathesis")
    with stage(folder) as built:
        done = subprocess.run(
            [
                *(program, "run", f"http://127.0.0.1:{built.port}/docs.json"),
                *("--checks", "not_a_server_error", "--max-examples", examples, "--seed", "1"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
        faults = built.metric('pricing_errors_total{status="500"}')
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:])
    return [
        Finding(name, "its exit status (0: no 5xx found)", done.returncode, 0),
        Finding(name, "500s that the service counted", faults, 0),
    ]


def replayed(folder: Path, lengths: Lengths) -> Report:
    """Serve many quotes, then recompute every one from the audit log, and check its chain."""
    name = "replay of the audit log"
    batches = 2 if lengths.overload < 10 else 100
    with stage(folder) as built:
        home, store, served = built.home, built.store, 0
        for turn in range(batches):
            items = [_varied(turn * 1000 + i) for i in range(1000)]
            status, answer = built.post("/get_prices", json.dumps({"items": items}).encode())
            assert status == 200, answer
            served += sum("quote_id" in price for price in answer["prices"])
            if turn == batches // 2:
                built.publish(1.06)
                time.sleep(1.5)
    explainer = Explainer(store=store, audit=home.audit, settings=PricingSettings())
    found = different = 0
    for segment in segments(home.audit):
        for quote in _quotes(segment):
            found += 1
            different += not explainer.reproduction(quote)["reproduced"]
    problems = sum(len(report.problems) for report in verify(home.audit))
    return [
        Finding(name, f"of {served} served, on record", found, served, at_least=True),
        Finding(name, "not reproduced", different, 0),
        Finding(name, "faults in the chain", problems, 0),
    ]


def _varied(number: int) -> dict[str, Any]:
    body: dict[str, Any] = {"product_id": f"SKU-{number % PRODUCTS}"}
    kind = number // PRODUCTS % 5
    if kind == 1:
        body |= {"current_stock": number % 97}
    if kind == 2:
        body |= {**CONTEXT, "current_stock": 5 + number % 31}
    if kind == 3:
        body |= {"comp_price": 15 + number % 13, "objective": "revenue"}
    if kind == 4:
        body = {"product_id": f"NEW-{number}", "unit_cost": 1 + number % 50}
    return body


def _quotes(segment: SegmentFile) -> Iterator[FoundQuote]:
    for block in blocks(segment.path):
        for line in block.lines:
            record = orjson.loads(line)
            answers = record.get("answers", [])
            for position, answer in enumerate(answers):
                if "quote_id" in answer:
                    yield FoundQuote(record, position, segment.path.name, block.seal is not None)


FAULTS = (overload, doors, odd_numbers_and_ids, fuzzed, replayed)
