"""A real browser for the tests of the pages: chromium by playwright, and what it complains of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP = (1360, 900)
PHONE = (390, 844)
LOOKS = [("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE)]
PATIENCE_MS = 15_000
"""Three rounds of a page that asks every 5 s: a busy machine may miss the first."""
SCREENSHOTS = "TEST_SCREENSHOTS"
"""Names a folder in which the screenshots stay; without it they go with pytest's own folder."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own, or a skip where none is installed."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"needs: a browser, one of {', '.join(NAMES)}")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visited(
    browser: Browser,
    address: str,
    *,
    scheme: Literal["light", "dark"] = "light",
    size: tuple[int, int] = DESKTOP,
    expected_errors: tuple[str, ...] = (),
) -> Iterator[Page]:
    """A page at ``address``; its console holds no error at the end but the expected ones.

    An expected error is a part of its text or of the address it is about.
    """
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.text} ({message.location.get('url', '')})")

    width, height = size
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": height},
        locale="en-GB",
        timezone_id="America/New_York",
    )
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        yield page
        strange = [text for text in complaints if not any(part in text for part in expected_errors)]
        assert not strange, strange
    finally:
        context.close()


def screenshot_folder(factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept."""
    named = os.environ.get(SCREENSHOTS)
    folder = Path(named) if named else factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_screenshot(page: Page, folder: Path, name: str) -> None:
    """The whole page as it is, for someone to look at."""
    page.evaluate("scrollTo(0, 0)")
    path = folder / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 10_000, "an empty picture"


def fits_its_width(page: Page) -> bool:
    """Nothing makes the page scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"))
