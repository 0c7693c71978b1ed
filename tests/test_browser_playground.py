"""The playground and the health page, walked in a real browser as their users walk them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, expect

from serving.sales_history import SalesHistory
from tests.browser import (
    LOOKS,
    fits_its_width,
    keep_screenshot,
    visited,
)
from tests.published_tables import stamps
from tests.running_service import CURVES, Running, running_service

DAYS = 200
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_service(tmp_path_factory.mktemp("home"), workers=2) as running:
        publish(running)
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRICING_API_TOKEN", TOKEN)
        with running_service(tmp_path_factory.mktemp("guarded")) as running:
            publish(running)
            yield running


def publish(running: Running) -> None:
    """A table with its history, in use by the workers."""
    history = SalesHistory(running.home.tables / "history")
    history.write(history_rows(), data_version=stamps().data_version)
    version = running.publish(1.05)
    for _ in range(10):
        running.until(lambda: running.ready_version() == version)


def history_rows() -> pa.Table:
    """A seeded past of every product: prices in steps, promotions, and sales that answer."""
    rng = np.random.default_rng(5)
    count = CURVES.num_rows
    price = np.repeat(CURVES["reference_price"].to_numpy(), DAYS)
    promo = np.tile((np.arange(DAYS) // 14 % 5 == 2).astype(float), count)
    price = price * np.repeat(rng.choice([0.9, 1.0, 1.05], count * DAYS // 20), 20)
    price = price * (1 - 0.2 * promo)
    return pa.table(
        {
            "product_id": np.repeat(CURVES["product_id"].to_numpy(zero_copy_only=False), DAYS),
            "store_id": [""] * (count * DAYS),
            "date": pa.array(np.tile(np.datetime64("2025-08-14") + np.arange(DAYS), count)),
            "units": rng.poisson(8 * (1 + promo)).astype(float),
            "price": price,
            "promo": promo,
            "rival_price": price * 1.04,
            "on_hand": np.full(count * DAYS, 100.0),
        }
    )


def shown_price(page: Page) -> float:
    """The recommended price in the first tile."""
    return float(page.locator("#tiles .tile b").first.inner_text().removeprefix("US$"))


def settled(page: Page) -> None:
    """The product is shown and nothing is asked any more."""
    expect(page.locator("#product-view")).to_be_visible()
    expect(page.locator("#tiles .tile")).to_have_count(6)
    page.wait_for_load_state("networkidle")


def set_range(page: Page, label: str, value: float) -> None:
    """Moves a slider as a hand does."""
    page.get_by_role("slider", name=label).evaluate(
        "(slider, value) => { slider.value = value;"
        " slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


@pytest.mark.parametrize(("scheme", "size"), LOOKS)
def test_the_playground_shows_a_product(
    browser: Browser, service: Running, pictures: Path, scheme: str, size: tuple[int, int]
) -> None:
    with visited(browser, service.base_url, scheme=scheme, size=size) as page:
        settled(page)
        expect(page.locator("#product")).to_have_value("SKU-0")
        for name in ("units", "revenue", "profit", "sales", "price"):
            expect(page.locator(f"#{name}-chart canvas")).to_be_visible()
        assert page.locator("#reasons li").count() >= 1
        assert shown_price(page) == service.price("SKU-0")["recommended_price"]
        assert fits_its_width(page)
        keep_screenshot(page, pictures, f"playground-{scheme}-{size[0]}")


def test_a_product_is_found_by_keyboard(browser: Browser, service: Running) -> None:
    with visited(browser, service.base_url) as page:
        settled(page)
        field = page.get_by_role("combobox", name="Product")
        field.focus()
        page.keyboard.type("sku-2")
        options = page.locator("#product-list").get_by_role("option")
        expect(options).to_have_text(["SKU-2", *(f"SKU-2{i}" for i in range(10))])
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(options.nth(1)).to_have_attribute("aria-selected", "true")
        page.keyboard.press("Enter")
        expect(field).to_have_value("SKU-20")
        expect(options).to_have_count(0)
        expect(page).to_have_url(re.compile(r"product_id=SKU-20$"))
        page.reload()
        settled(page)
        expect(field).to_have_value("SKU-20")


def test_sliders_are_answered_as_the_service_prices(browser: Browser, service: Running) -> None:
    with visited(browser, f"{service.base_url}/?product_id=SKU-5") as page:
        settled(page)
        before = shown_price(page)
        set_range(page, "Stock (units)", 3)
        expect(page.locator("#reasons")).to_contain_text("the stock of 3")
        assert shown_price(page) == service.price("SKU-5", current_stock=3)["recommended_price"]
        assert shown_price(page) >= before
        page.get_by_role("button", name="Leave out Stock").click()
        expect(page.locator("#reasons")).not_to_contain_text("the stock of 3")
        assert shown_price(page) == before
        page.get_by_label("Day", exact=True).select_option("Friday")
        expect(page.locator("#reasons")).to_contain_text("Friday sells")
        page.get_by_label("A promotion runs").check()
        expect(page.locator("#reasons")).to_contain_text("a promotion sells")


def test_a_price_and_rules_can_be_tried(browser: Browser, service: Running) -> None:
    quotes = service.metric('pricing_quotes_total{source="live"}')
    with visited(browser, f"{service.base_url}/?product_id=SKU-7") as page:
        settled(page)
        slider = page.get_by_role("slider", name="A price to look at")
        slider.focus()
        page.keyboard.press("End")
        expect(page.locator("#tried")).to_contain_text("Outside the guard rails")
        page.keyboard.press("Home")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        expect(page.locator("#tried")).to_contain_text("units, revenue")
        set_range(page, "Largest change (%)", 2)
        expect(page.locator("#badges")).to_contain_text("what if: not the served rules")
        current = service.client.get("/product", params={"product_id": "SKU-7"}).json()
        assert abs(shown_price(page) / current["current_price"] - 1) <= 0.02 + 1e-9
        page.get_by_role("button", name="Reset").click()
        expect(page.locator("#badges")).to_be_empty()
        assert shown_price(page) == service.price("SKU-7")["recommended_price"]
    assert service.metric('pricing_quotes_total{source="live"}') == quotes


def test_a_served_price_is_explained_in_a_drawer(
    browser: Browser, service: Running, pictures: Path
) -> None:
    with visited(browser, f"{service.base_url}/?product_id=SKU-9") as page:
        settled(page)
        set_range(page, "Stock (units)", 5)
        page.get_by_role("button", name="Ask the service").click()
        page.get_by_role("button", name="Explain it").click()
        drawer = page.locator("#explanation")
        expect(drawer).to_contain_text("the same to the last bit")
        expect(drawer).to_contain_text("The way to this price")
        expect(drawer).to_contain_text(service.ready_version() or "no version")
        keep_screenshot(page, pictures, "explanation-light-1360")
        page.keyboard.press("Escape")
        expect(drawer).to_be_hidden()


def test_charts_are_read_by_keyboard_and_as_a_table(browser: Browser, service: Running) -> None:
    with visited(browser, f"{service.base_url}/?product_id=SKU-3") as page:
        settled(page)
        page.locator("#units-chart .chart-canvas").focus()
        page.keyboard.press("ArrowRight")
        readout = page.locator("#units-chart .chart-readout")
        expect(readout).to_contain_text(re.compile(r"\(\d+ to \d+\)"))
        first = readout.inner_text()
        page.keyboard.press("End")
        expect(readout).not_to_have_text(first)
        page.locator("#sales-chart summary").click()
        rows = page.locator("#sales-chart tbody tr")
        expect(rows).to_have_count(DAYS)
        expect(rows.first).to_contain_text("14 Aug 2025")


def test_an_unknown_product_is_said(browser: Browser, service: Running) -> None:
    address = f"{service.base_url}/?product_id=nothing"
    with visited(browser, address, expected_errors=("404",)) as page:
        expect(page.get_by_role("alert")).to_contain_text("'nothing' has no published price")


@pytest.mark.parametrize(("scheme", "size"), LOOKS)
def test_the_health_page_says_how_it_is(
    browser: Browser, service: Running, pictures: Path, scheme: str, size: tuple[int, int]
) -> None:
    service.price("SKU-1")
    with visited(browser, f"{service.base_url}/health", scheme=scheme, size=size) as page:
        expect(page.locator("#versions")).to_contain_text(service.ready_version() or "none")
        expect(page.locator("#rungs")).to_contain_text("the published price")
        expect(page.locator("#drift")).to_contain_text("not measured yet")
        expect(page.locator("#latency")).to_contain_text("get_price")
        page.get_by_role("button", name="Check the chains now").click()
        expect(page.locator("#audit-check")).to_contain_text("Whole:")
        assert fits_its_width(page)
        keep_screenshot(page, pictures, f"health-{scheme}-{size[0]}")


def test_the_stop_and_the_reports_raise_alarms(
    browser: Browser, service: Running, pictures: Path
) -> None:
    reports = service.home.reports
    reports.mkdir(exist_ok=True)
    check = {"name": "drift_price", "value": 0.31, "threshold": 0.2, "bound": "at most"}
    drift = {
        "generated_at": "2026-03-01T00:00:00+00:00",
        "checks": [{**check, "why": "PSI", "passed": False}],
        "alarms": [{"name": "drift_price", "why": "0.31 against 0.2 at most"}],
    }
    service.store.freeze()
    (reports / "drift.json").write_text(json.dumps(drift))
    (reports / "gate.json").write_text('{"checks": [NaN]}')
    try:
        with visited(browser, f"{service.base_url}/health") as page:
            alarms = page.locator("#alarms")
            expect(alarms).to_contain_text("Every price is frozen")
            expect(alarms).to_contain_text("drift price: 0.31 against 0.2 at most")
            expect(alarms).to_contain_text("gate.json is damaged")
            expect(page.locator("#drift")).to_contain_text("fails")
            keep_screenshot(page, pictures, "health-alarms-light-1360")
    finally:
        service.store.unfreeze()
        for path in reports.glob("*.json"):
            path.unlink()


def test_every_page_is_reached_from_every_other(browser: Browser, service: Running) -> None:
    with visited(browser, service.base_url) as page:
        settled(page)
        page.get_by_role("link", name="Health").click()
        expect(page.get_by_role("heading", name="Health", level=1)).to_be_visible()
        expect(page.get_by_role("link", name="Health")).to_have_attribute("aria-current", "page")
        page.get_by_role("link", name="Playground").click()
        settled(page)


def test_a_token_is_asked_for_and_kept_for_the_tab(
    browser: Browser, guarded: Running, pictures: Path
) -> None:
    with visited(browser, guarded.base_url, expected_errors=("401",)) as page:
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("API token")
        keep_screenshot(page, pictures, "token-light-1360")
        page.get_by_role("textbox", name="Token").fill("wrong")
        page.get_by_role("button", name="Use the token").click()
        expect(dialog).to_contain_text("not accepted")
        page.get_by_role("textbox", name="Token").fill(TOKEN)
        page.keyboard.press("Enter")
        settled(page)
        expect(dialog).to_have_count(0)
        page.goto(f"{guarded.base_url}/health")
        expect(page.locator("#versions")).to_contain_text("000001-")
        assert page.evaluate("Object.keys(localStorage).length") == 0
