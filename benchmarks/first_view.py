"""How long until a page shows its data, in a real browser with an empty cache.

``python -m benchmarks.first_view --address http://127.0.0.1:8080`` against a running service, such
as the one that ``make demo`` leaves. Each visit is a new profile, so every file is fetched. Prints
medians and worst of the visits: first paint of anything, and the moment the page's data stand.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass

from playwright.sync_api import Browser

from tests.browser import chromium, visited

PAGES = {
    "/": "#units-chart canvas",
    "/table": "#list .cell.pick",
    "/impact": "#sales-tiles .tile",
    "/health": "#versions code",
}
"""What is in each page once its data stand."""
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"


@dataclass(frozen=True, slots=True)
class FirstView:
    """Visits of one page; milliseconds since the navigation began."""

    page: str
    paint: tuple[float, ...]
    shown: tuple[float, ...]


def first_view(browser: Browser, address: str, page: str, *, visits: int) -> FirstView:
    """Visit ``page`` of the service at ``address`` several times, each with a new profile."""
    paint, shown = [], []
    for _ in range(visits):
        with visited(browser, address.rstrip("/") + page) as tab:
            tab.wait_for_selector(PAGES[page])
            shown.append(float(tab.evaluate("performance.now()")))
            paint.append(float(tab.evaluate(_PAINT)))
    return FirstView(page, tuple(paint), tuple(shown))


def main() -> None:
    """Visit every page and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_view", description=__doc__)
    parser.add_argument("--address", default="http://127.0.0.1:8080")
    parser.add_argument("--visits", type=int, default=7)
    parser.add_argument("--pages", nargs="+", default=list(PAGES), choices=list(PAGES))
    options = parser.parse_args()
    print(f"{'page':<10} {'first paint':>14} {'data shown':>14} {'worst':>10}   ms, median")
    with chromium() as browser:
        for page in options.pages:
            found = first_view(browser, options.address, page, visits=options.visits)
            print(
                f"{found.page:<10} {statistics.median(found.paint):>14.0f} "
                f"{statistics.median(found.shown):>14.0f} {max(found.shown):>10.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
