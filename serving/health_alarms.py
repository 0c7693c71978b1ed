"""What an operator should look at now, in words, from the state that the health page shows.

Pure. Belongs here: which state is an alarm, and what to do about it. Rates over time and paging
are Prometheus's, in ``deploy/prometheus``; these rules look at one moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

EXPIRES_SOON = timedelta(hours=6)
MIN_QUOTES = 100
"""Quotes from which on a share of them is worth a word."""
LOW_RUNGS = ("rule", "current")
MAX_LOW_SHARE = 0.05

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing to look at: what is, and what to do."""

    level: Literal["bad", "warn"]
    what: str
    action: str


def alarms(state: State) -> list[Alarm]:
    """The alarms of a health state, the worst first."""
    found = [*_of_table(state), *_of_stop(state["freeze"]), *_of_counts(state), *_of_reports(state)]
    return sorted(found, key=lambda alarm: alarm.level != "bad")


def _of_table(state: State) -> Iterator[Alarm]:
    versions = state["versions"]
    if versions is None:
        yield Alarm(
            "bad", "No price table is published.", "Run 'pricing run', and look at its log."
        )
        return
    left = datetime.fromisoformat(versions["valid_until"]) - datetime.fromisoformat(state["now"])
    if left <= timedelta(0):
        yield Alarm(
            "bad",
            "The published price table has expired and is still served.",
            "Look why the pipeline did not publish ('pricing status'), or freeze prices.",
        )
    elif left <= EXPIRES_SOON:
        yield Alarm(
            "warn", "The price table expires within 6 hours.", "See that the next run publishes."
        )
    if versions["overridden"]:
        yield Alarm(
            "warn",
            f"This table passed the batch breaker by an override: {versions['overridden'][0]}.",
            "Take batch_breaker.override out of the settings once it is not needed.",
        )
    if refused := state["table_loads"].get("refused", 0):
        yield Alarm(
            "warn",
            f"A published table was damaged and refused {refused:g} times; the one before served.",
            "The log names the file under table_refused; publish again.",
        )


def _of_stop(freeze: State) -> Iterator[Alarm]:
    if freeze["damaged"]:
        yield Alarm(
            "bad",
            "freeze.json cannot be read, so every price is held.",
            "Run 'pricing unfreeze', then freeze again what must be held.",
        )
    elif freeze["everything"]:
        yield Alarm("bad", "Every price is frozen.", "'pricing unfreeze' once the cause is known.")


def _of_counts(state: State) -> Iterator[Alarm]:
    audit = state["audit"]
    if audit["failures"] or audit["refusals"]:
        yield Alarm(
            "bad",
            f"The audit log could not be written {audit['failures']:g} times, and "
            f"{audit['refusals']:g} requests were refused for it.",
            "Look at the disk of the home.",
        )
    if stopped := sum(state["guard_rail_refusals"].values()):
        yield Alarm(
            "bad",
            f"The last check stopped {stopped:g} prices outside their guard rails.",
            "Find them in the log under guard_rail.",
        )
    if faults := state["errors"].get("500", 0):
        yield Alarm(
            "bad",
            f"The service failed on {faults:g} requests.",
            "The log has a traceback under the event fault.",
        )
    if failed := {rung: count for rung, count in state["rung_failures"].items() if count}:
        named = ", ".join(f"{rung} {count:g} times" for rung, count in failed.items())
        yield Alarm(
            "warn",
            f"Rungs that should have answered could not: {named}.",
            "Look at the log, and at the age of the table and of Redis.",
        )
    if waiting := state["redis"]["workers_not_asking"]:
        yield Alarm(
            "warn",
            f"{waiting:g} workers do not ask Redis; prices are right, and cost more to compute.",
            "Look at Redis.",
        )
    yield from _of_rungs(state["quotes"])


def _of_rungs(quotes: Mapping[str, float]) -> Iterator[Alarm]:
    total = sum(quotes.values())
    low = sum(quotes.get(rung, 0.0) for rung in LOW_RUNGS)
    if total >= MIN_QUOTES and low > MAX_LOW_SHARE * total:
        yield Alarm(
            "warn",
            f"{low / total:.0%} of the quotes came from a rule or are the current price.",
            "Products are asked for that the table does not hold, or the table has expired.",
        )


def _of_reports(state: State) -> Iterator[Alarm]:
    for name, report in state["reports"].items():
        if report is not None and "unreadable" in report:
            yield Alarm(
                "warn",
                f"The report reports/{name}.json is damaged: {report['unreadable']}.",
                "The next run writes it again.",
            )
    for name, why in _alarms_of(state["reports"]["drift"]):
        yield Alarm("warn", f"{name}: {why}", "The drift sensor trains anew, if it is switched on.")
    if failed := _alarms_of(state["reports"]["gate"]):
        yield Alarm(
            "warn",
            f"The latest candidate did not pass the gate: {', '.join(name for name, _ in failed)}.",
            "The champion goes on serving; 'pricing status' says why.",
        )


def _alarms_of(report: State | None) -> list[tuple[str, str]]:
    """Name in words and reason of each alarm that a report holds."""
    listed = (report or {}).get("alarms", ())
    return [(str(one.get("name")).replace("_", " "), str(one.get("why"))) for one in listed]
