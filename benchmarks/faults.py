"""Break things around the service and hold what its callers saw against bars.

``python -m benchmarks.faults [--short] [NAME ...]`` prints one table, and ends with 1 where a bar
is missed. Belongs here: the list of faults. Each one starts a service of its own on free ports.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import request_faults, service_faults
from benchmarks.fault_report import FULL, SHORT, Lengths, Report, table

FAULTS: dict[str, Callable[[Path, Lengths], Report]] = {
    fault.__name__: fault for fault in (*service_faults.FAULTS, *request_faults.FAULTS)
}


def run(name: str, lengths: Lengths) -> Report:
    """One fault in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="pricing-fault-") as folder:
        return FAULTS[name](Path(folder), lengths)


def main() -> int:
    """Run, print, and 1 where a bar is missed."""
    options = _options()
    lengths = SHORT if options.short else FULL
    report: Report = []
    for name in options.names or FAULTS:
        sys.stderr.write(f"--- {name}\n")
        report += run(name, lengths)
    sys.stdout.write(table(report) + "\n")
    return int(not all(finding.holds for finding in report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("names", nargs="*", choices=[[], *FAULTS], metavar="NAME")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
