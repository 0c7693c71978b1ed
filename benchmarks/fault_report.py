"""What a fault run found: values beside their bars.

Belongs here: the findings and their table, and how long faults last. What is broken is
``service_faults`` and ``request_faults``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One value and its bar; ``timing`` marks those that a busy machine can miss."""

    fault: str
    what: str
    value: float
    bar: float
    at_least: bool = False
    timing: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bar is met."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long things last, seconds."""

    base: float
    outage: float
    overload: float
    swaps: int


FULL = Lengths(base=8, outage=30, overload=60, swaps=8)
SHORT = Lengths(base=2, outage=2, overload=3, swaps=2)
Report = list[Finding]


def table(report: Report) -> str:
    """The findings as lines."""
    lines = [f"{'fault':<34} {'what':<42} {'value':>10} {'bar':>10}"]
    for one in report:
        bar = f"{'>=' if one.at_least else '<='} {one.bar:g}"
        mark = "" if one.holds else "  MISSED"
        lines.append(f"{one.fault:<34} {one.what:<42} {one.value:>10.5g} {bar:>10}{mark}")
    return "\n".join(lines)
