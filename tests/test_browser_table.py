"""The price table and the impact page, walked in a real browser as their users walk them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, expect

from pricing_assets.core.evaluation.impact import impact_numbers
from serving.decision_log import DecisionLog
from tests.browser import (
    LOOKS,
    fits_its_width,
    keep_screenshot,
    visited,
)
from tests.published_tables import curve_table, price_table, stamps
from tests.running_service import Running, running_service
from tests.test_impact import START, published, quiet_panel

COUNT = 600
TRUTH = {
    "horizon_days": 28,
    "profit_at_current": 1000.0,
    "profit_at_recommended": 1100.0,
    "share_of_oracle_uplift": 0.8,
    "coverage_90": 0.9,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    with running_service(home, approval="required", approval_threshold=0.01) as running:
        for factor in (1.03, 1.05):
            publish(running, factor)
        yield running


def publish(running: Running, factor: float) -> None:
    """A table of two categories in which every fifth price is held."""
    now, curves = datetime.now(UTC), curve_table(COUNT)
    category = [("snacks", "drinks")[i % 2] for i in range(COUNT)]
    curves = curves.set_column(2, "category", pa.array(category))
    rows = price_table(curves, factor=factor).to_pylist()
    for i, row in enumerate(rows):
        row["reasons"] = "raise: demand is inelastic; rival: rivals are 5% dearer"
        if i % 5 == 0:
            row |= {"recommended_price": row["current_price"], "decision": "hold"}
            row |= {"price_floor": min(row["price_floor"], row["current_price"])}
            row |= {"reasons": "hold_best: the current price is the best"}
    prices = pa.Table.from_pylist(rows)
    made = stamps(now=now)
    version = running.store.publish(prices=prices, curves=curves, stamps=made, now=now)
    running.until(lambda: running.ready_version() == version.table_version)


def write_impact(running: Running, *, simulated: bool, days: bool = True) -> None:
    """The report that the pipeline would write of a small panel."""
    panel = quiet_panel(level=0.9, noise=True)
    tables = [published(panel, start=START)] if days else []
    truth = TRUTH if simulated else None
    numbers = impact_numbers(panel, tables, cover_days=7, seed=1, truth=truth)
    origin = {"run_id": "run-1", "data_version": "0123456789abcdef", "currency": "USD"}
    running.home.reports.mkdir(parents=True, exist_ok=True)
    (running.home.reports / "impact.json").write_text(json.dumps({**origin, **numbers}))


def settled(page: Page) -> None:
    """The first rows are there and nothing is asked any more."""
    expect(page.locator("#row-0[data-loaded='1']")).to_be_visible()
    page.wait_for_load_state("networkidle")


def decide(page: Page, action: str, who: str, note: str = "") -> None:
    """Confirms an act on the selected rows, as somebody."""
    page.get_by_label("You are").fill(who)
    page.locator(f"#acts [data-act={action}]").click()
    page.get_by_label("Note, kept on record").fill(note)
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator(".notice").last).to_contain_text(action.capitalize())
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize(("scheme", "size"), LOOKS)
def test_the_table_is_looked_through(
    browser: Browser, service: Running, pictures: Path, scheme: str, size: tuple[int, int]
) -> None:
    address = f"{service.base_url}/table"
    with visited(browser, address, scheme=scheme, size=size) as page:
        settled(page)
        expect(page.locator("#found")).to_contain_text(f"{COUNT} rows")
        assert fits_its_width(page)
        keep_screenshot(page, pictures, f"table-{scheme}-{size[0]}")
        page.get_by_label("Find").fill("sku-59")
        expect(page.locator("#found")).to_contain_text(f"11 of {COUNT} rows")
        page.get_by_label("Category").select_option("drinks")
        expect(page.locator("#found")).to_contain_text(f"6 of {COUNT} rows")
        assert "category=drinks" in page.url
        page.reload()
        settled(page)
        expect(page.locator("#found")).to_contain_text(f"6 of {COUNT} rows")
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#found")).to_contain_text(f"{COUNT} rows ·")


def test_rows_are_sorted_and_only_those_in_sight_are_elements(
    browser: Browser, service: Running
) -> None:
    with visited(browser, f"{service.base_url}/table") as page:
        settled(page)
        page.get_by_role("button", name="Recommended").click()
        expect(page.locator("[aria-sort=ascending]")).to_have_count(1)
        page.get_by_role("button", name="Recommended").click()
        expect(page.locator("[aria-sort=descending]")).to_have_count(1)
        settled(page)
        prices = [
            float(page.locator(f"#row-{i} .cell").nth(3).inner_text().removeprefix("$"))
            for i in range(4)
        ]
        assert prices == sorted(prices, reverse=True)
        page.locator("#list").evaluate("list => { list.scrollTop = list.scrollHeight; }")
        expect(page.locator(f"#row-{COUNT - 1}[data-loaded='1']")).to_be_visible()
        assert page.locator(".grid-row").count() < 60


def test_the_list_is_walked_by_keyboard(browser: Browser, service: Running) -> None:
    with visited(browser, f"{service.base_url}/table") as page:
        settled(page)
        page.locator("#list").focus()
        for key in ("ArrowDown", "ArrowDown", " "):
            page.keyboard.press(key)
        expect(page.locator("#selected")).to_have_text("1 row selected.")
        expect(page.locator("#row-2")).to_have_attribute("aria-selected", "true")
        page.keyboard.press("End")
        expect(page.locator(f"#row-{COUNT - 1}")).to_be_visible()
        page.keyboard.press("Home")
        page.keyboard.press("Enter")
        drawer = page.get_by_role("dialog")
        expect(drawer).to_contain_text("SKU-0")
        expect(drawer).to_contain_text("The current price is the best")
        page.keyboard.press("Escape")
        expect(drawer).to_be_hidden()


def test_two_people_approve_in_bulk_and_the_service_serves_it(
    browser: Browser, service: Running, pictures: Path
) -> None:
    product = "SKU-21"
    assert service.price(product)["source"] == "held"
    with visited(browser, f"{service.base_url}/table", expected_errors=("table_act",)) as page:
        settled(page)
        page.get_by_label("Category").select_option("drinks")
        page.get_by_label("State").select_option("waiting")
        expect(page.locator("#found")).to_contain_text(" of ")
        settled(page)
        page.get_by_role("button", name="Select all").click()
        page.locator("#acts [data-act=propose]").click()
        expect(page.locator(".notice")).to_contain_text("Say who you are")
        decide(page, "propose", "ann", "the spring range")
        page.get_by_label("State").select_option("proposed")
        settled(page)
        page.get_by_role("button", name="Select all").click()
        decide(page, "approve", "ann")
        expect(page.locator(".notice.problem").last).to_contain_text("somebody else must approve")
        assert service.price(product)["source"] == "held"
        page.get_by_role("button", name="Select all").click()
        decide(page, "approve", "ben")
        page.get_by_label("State").select_option("approved")
        settled(page)
        page.get_by_text("What was decided").click()
        expect(page.locator("#log")).to_contain_text("the spring range")
        keep_screenshot(page, pictures, "table-approved")
    service.until(lambda: service.price(product)["source"] == "table")
    assert service.price("SKU-22")["source"] == "held"
    acts = DecisionLog(service.home.tables).acts()
    assert [(one.action, one.by) for one in acts][:2] == [("propose", "ann"), ("approve", "ben")]


def test_one_product_is_frozen_and_released(browser: Browser, service: Running) -> None:
    with visited(browser, f"{service.base_url}/table") as page:
        settled(page)
        page.get_by_label("You are").fill("ann")
        for action, source in (("Freeze", "frozen"), ("Unfreeze", "held")):
            page.locator("#row-2 .cell").nth(1).click()
            page.locator("#row-dialog").get_by_role("button", name=action, exact=True).click()
            page.get_by_role("button", name="Confirm").click()
            expect(page.locator(".notice").last).to_contain_text(action)
            service.until(lambda source=source: service.price("SKU-2")["source"] == source)
            settled(page)


def test_versions_are_compared_and_rows_exported(
    browser: Browser, service: Running, pictures: Path, tmp_path: Path
) -> None:
    with visited(browser, f"{service.base_url}/table") as page:
        settled(page)
        page.get_by_label("Compare with").select_option(index=1)
        expect(page.locator("#comparison .tile")).to_have_count(6)
        expect(page.locator("#comparison")).to_contain_text("not a measured uplift")
        page.get_by_label("only what changed since").check()
        expect(page.locator("#found")).to_contain_text(" of ")
        settled(page)
        keep_screenshot(page, pictures, "table-compared")
        with page.expect_download() as waited:
            page.get_by_role("button", name="Export Parquet").click()
        target = tmp_path / waited.value.suggested_filename
        waited.value.save_as(target)
        changed = pq.read_table(target)
        assert 0 < changed.num_rows < COUNT and "served_price" in changed.column_names
        with page.expect_download() as waited:
            page.get_by_role("button", name="Export CSV").click()
        waited.value.save_as(tmp_path / "prices.csv")
        lines = (tmp_path / "prices.csv").read_text().splitlines()
        assert len(lines) == changed.num_rows + 1


@pytest.mark.parametrize(("scheme", "size"), LOOKS)
def test_the_impact_of_real_sales_claims_no_uplift(
    browser: Browser, service: Running, pictures: Path, scheme: str, size: tuple[int, int]
) -> None:
    write_impact(service, simulated=False)
    address = f"{service.base_url}/impact"
    with visited(browser, address, scheme=scheme, size=size) as page:
        expect(page.locator("#kind")).to_have_text("Real data")
        for name in ("revenue", "profit", "units", "index"):
            expect(page.locator(f"#{name} canvas")).to_be_visible()
        expect(page.locator(".verdict")).to_contain_text("less than predicted")
        expect(page.locator("#experiments")).to_contain_text("None yet")
        expect(page.locator("#truth")).to_be_hidden()
        text = page.locator("main").inner_text()
        assert "None of it is a profit uplift" in text and " gain" not in text.lower()
        assert fits_its_width(page)
        keep_screenshot(page, pictures, f"impact-{scheme}-{size[0]}")


def test_a_simulated_market_is_called_one(
    browser: Browser, service: Running, pictures: Path
) -> None:
    write_impact(service, simulated=True, days=False)
    with visited(browser, f"{service.base_url}/impact") as page:
        expect(page.locator("#kind")).to_have_text("Simulated market")
        expect(page.locator("#truth")).to_contain_text("can be known of no real market")
        expect(page.locator("#predicted")).to_contain_text("No sale has come in since")
        keep_screenshot(page, pictures, "impact-simulated")


def test_without_a_report_the_page_says_what_to_do(browser: Browser, service: Running) -> None:
    (service.home.reports / "impact.json").unlink(missing_ok=True)
    address = f"{service.base_url}/impact"
    with visited(browser, address, expected_errors=("impact_report",)) as page:
        expect(page.get_by_role("alert")).to_contain_text("pricing run")
