"""The price table's page with a catalogue of 100,000 products: it scrolls and filters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import visited
from tests.published_tables import curve_table, price_table, stamps
from tests.running_service import Running, running_service

COUNT = 100_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_service(tmp_path_factory.mktemp("home")) as running:
        now, curves = datetime.now(UTC), curve_table(COUNT)
        version = running.store.publish(
            prices=price_table(curves), curves=curves, stamps=stamps(now=now), now=now
        )
        running.until(lambda: running.ready_version() == version.table_version)
        yield running


def test_a_hundred_thousand_products_scroll_and_filter(browser: Browser, service: Running) -> None:
    with visited(browser, f"{service.base_url}/table") as page:
        expect(page.locator("#row-0[data-loaded='1']")).to_be_visible()
        expect(page.locator("#found")).to_contain_text("100,000 rows")
        page.locator("#list").evaluate("list => { list.scrollTop = list.scrollHeight; }")
        expect(page.locator(f"#row-{COUNT - 1}[data-loaded='1']")).to_be_visible()
        assert page.locator(".grid-row").count() < 60
        page.get_by_label("Find").fill("sku-99999")
        expect(page.locator("#found")).to_contain_text("1 of 100,000 rows")
        expect(page.locator("#row-0[data-loaded='1']")).to_contain_text("SKU-99999")
