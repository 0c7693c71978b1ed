"""The panel: what each cell means, against small tables worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pricing_assets.core.errors import EmptyTableError, InputError, MissingTableError
from pricing_assets.core.features import (
    build_panel,
    future_plan,
    panel_from_frames,
    panel_to_frames,
)
from pricing_assets.core.panel import PANEL_MATRICES
from pricing_assets.core.settings import PricingSettings

NAN = float("nan")


def table(**columns: list[object]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    if "date" in frame:
        frame["date"] = pd.to_datetime(frame["date"])
    return frame


def days(*offsets: int, start: str = "2024-01-01") -> list[object]:
    return [pd.Timestamp(start) + pd.Timedelta(days=offset) for offset in offsets]


def settings(**ingestion: object) -> PricingSettings:
    return PricingSettings.model_validate({"ingestion": ingestion})


def sales_of(*, offsets: list[int], units: list[float], **more: list[object]) -> pd.DataFrame:
    n = len(offsets)
    base = {"product_id": ["A"] * n, "price": [10.0] * n}
    return table(date=days(*offsets), units=units, **{**base, **more})


def test_absent_days_are_zero_sales_when_the_table_records_none() -> None:
    sales = sales_of(offsets=[0, 3], units=[5, 2])
    panel = build_panel({"sales": sales}, settings())
    assert panel.units.tolist() == [[5, 0, 0, 2]]
    assert panel.on_sale.all()
    assert panel.price.tolist() == [[10, 10, 10, 10]]


def test_absent_days_are_not_on_sale_when_the_table_records_zero_days() -> None:
    sales = sales_of(offsets=[0, 1, 3], units=[5, 0, 2])
    panel = build_panel({"sales": sales}, settings())
    np.testing.assert_array_equal(panel.units, [[5, 0, NAN, 2]])
    np.testing.assert_array_equal(panel.on_sale, [[True, True, False, True]])


def test_absent_rows_setting_overrides_what_the_table_looks_like() -> None:
    sales = sales_of(offsets=[0, 1, 3], units=[5, 0, 2])
    zero = build_panel({"sales": sales}, settings(absent_rows="zero"))
    assert zero.units.tolist() == [[5, 0, 0, 2]]
    sparse = sales_of(offsets=[0, 3], units=[5, 2])
    absent = build_panel({"sales": sparse}, settings(absent_rows="not_on_sale"))
    np.testing.assert_array_equal(absent.units, [[5, NAN, NAN, 2]])


def test_not_on_sale_before_the_first_row_and_after_eight_silent_weeks() -> None:
    sales = table(
        date=days(0, 100, 10, 60),
        product_id=["A", "A", "gone", "recent"],
        units=[1.0, 1.0, 1.0, 1.0],
        price=[2.0, 2.0, 2.0, 2.0],
    )
    panel = build_panel({"sales": sales}, settings(grain="day"))
    offered = dict(zip(panel.series["product_id"], panel.on_sale, strict=True))
    assert offered["A"].all()
    assert np.flatnonzero(offered["gone"]).tolist() == [10]
    assert np.flatnonzero(offered["recent"]).tolist() == list(range(60, 101))


def test_rows_of_one_day_are_summed_at_the_units_weighted_price() -> None:
    sales = table(
        date=days(0, 0, 1, 1),
        product_id=["A"] * 4,
        units=[1.0, 3.0, 0.0, 0.0],
        price=[10.0, 6.0, 4.0, 8.0],
        segment=["x", "y", "x", "y"],
        promo=[0, 1, 0, 0],
    )
    panel = build_panel({"sales": sales}, settings())
    assert panel.units.tolist() == [[4, 0]]
    assert panel.price.tolist() == [[7, 6]]
    assert panel.promo.tolist() == [[1, 0]]


def test_weekly_dates_snap_to_the_seven_day_lattice() -> None:
    sales = sales_of(offsets=[0, 7, 15, 21], units=[1, 2, 3, 4])
    panel = build_panel({"sales": sales}, settings())
    assert panel.grain == "week"
    assert panel.period_days == 7
    assert panel.units.tolist() == [[1, 2, 3, 4]]
    assert panel.dates.tolist() == [stamp.date() for stamp in days(0, 7, 14, 21)]


def test_daily_rows_can_be_summed_into_weeks() -> None:
    sales = sales_of(offsets=list(range(14)), units=[1.0] * 14)
    panel = build_panel({"sales": sales}, settings(grain="week"))
    assert panel.units.tolist() == [[7, 7]]


def test_one_product_with_one_row_is_a_panel() -> None:
    panel = build_panel({"sales": sales_of(offsets=[0], units=[3])}, settings())
    assert panel.shape == (1, 1)
    assert panel.grain == "day"
    assert panel.current_price().tolist() == [10.0]


def test_regular_price_is_the_running_price_outside_promotions() -> None:
    sales = sales_of(
        offsets=[0, 1, 2, 3], units=[1, 1, 1, 1], price=[8.0, 10.0, 7.0, 10.5], promo=[1, 0, 1, 0]
    )
    panel = build_panel({"sales": sales}, settings())
    assert panel.regular_price.tolist() == [[8, 10, 10, 10.5]]


def test_given_regular_price_is_used_and_carried() -> None:
    sales = sales_of(
        offsets=[0, 1, 2], units=[1, 1, 1], price=[8.0, 8.0, 8.0], regular_price=[9.0, NAN, 9.5]
    )
    panel = build_panel({"sales": sales}, settings())
    assert panel.regular_price.tolist() == [[9, 9, 9.5]]


def test_cost_is_as_of_the_day_and_a_store_prefers_its_own() -> None:
    sales = table(
        date=days(0, 0, 3, 3),
        product_id=["A"] * 4,
        store_id=["1", "2", "1", "2"],
        units=[1.0] * 4,
        price=[9.0] * 4,
    )
    costs = table(
        date=days(-30, 2, 1),
        product_id=["A", "A", "A"],
        store_id=["", "", "2"],
        unit_cost=[4.0, 5.0, 6.0],
    )
    panel = build_panel({"sales": sales, "costs": costs}, settings())
    assert panel.unit_cost.tolist() == [[4, 4, 5, 5], [4, 6, 6, 6]]


def test_cost_falls_back_to_the_products_constant_and_else_to_nan() -> None:
    sales = table(date=days(0, 1, 0), product_id=["A", "A", "B"], units=[1.0] * 3, price=[9.0] * 3)
    products = table(product_id=["A", "C"], unit_cost=[3.0, 1.0], category=["tea", "milk"])
    panel = build_panel({"sales": sales, "products": products}, settings())
    np.testing.assert_array_equal(panel.unit_cost, [[3, 3], [NAN, NAN]])
    assert panel.series["category"].tolist() == ["tea", ""]


def test_rival_price_is_the_mean_of_last_known_prices_for_eight_weeks() -> None:
    sales = sales_of(offsets=[0, 70], units=[1, 1])
    rivals = table(
        date=days(-1, 2, 3),
        product_id=["A", "A", "other"],
        competitor=["x", "y", "y"],
        price=[10.0, 20.0, 1.0],
    )
    panel = build_panel({"sales": sales, "competitor_prices": rivals}, settings(grain="day"))
    rival = panel.rival_price[0]
    assert rival[[0, 1, 2, 55, 56, 58]].tolist() == [10, 10, 15, 15, 20, 20]
    assert np.isnan(rival[59:]).all()


def test_empty_shelves_censor_and_unknown_stock_does_not() -> None:
    sales = sales_of(offsets=[0, 1, 2, 3], units=[5, 5, 0, 5])
    inventory = table(date=days(0, 1, 2), product_id=["A"] * 3, on_hand=[9.0, 5.0, 0.0])
    panel = build_panel({"sales": sales, "inventory": inventory}, settings())
    assert panel.censored.tolist() == [[False, True, True, False]]
    np.testing.assert_array_equal(panel.on_hand, [[9, 5, 0, NAN]])


def test_weekly_stock_is_the_opening_and_an_empty_day_censors_the_week() -> None:
    sales = sales_of(offsets=[0, 7], units=[5, 5])
    inventory = table(date=days(0, 3, 7), product_id=["A"] * 3, on_hand=[9.0, 0.0, 30.0])
    panel = build_panel({"sales": sales, "inventory": inventory}, settings())
    assert panel.on_hand.tolist() == [[9, 30]]
    assert panel.censored.tolist() == [[True, False]]


def test_stock_by_store_is_summed_where_sales_name_no_store() -> None:
    inventory = table(
        date=days(0, 0), product_id=["A", "A"], store_id=["1", "2"], on_hand=[3.0, 4.0]
    )
    tables = {"sales": sales_of(offsets=[0], units=[1]), "inventory": inventory}
    assert build_panel(tables, settings()).on_hand.tolist() == [[7.0]]


def test_future_plan_takes_planned_prices_holidays_and_the_last_rival() -> None:
    calendar = table(date=days(1, 4), holiday=[1, 1])
    planned = table(date=days(4, 40), product_id=["A", "A"], price=[8.0, 1.0], promo=[1, 1])
    rivals = table(
        date=days(0, 3), product_id=["A", "A"], competitor=["x", "x"], price=[11.0, 99.0]
    )
    tables = {
        "sales": sales_of(offsets=[0, 1, 2], units=[1, 1, 1]),
        "calendar": calendar,
        "planned_prices": planned,
        "competitor_prices": rivals,
    }
    chosen = PricingSettings(horizon_days=3)
    panel = build_panel(tables, chosen)
    plan = future_plan(panel, tables, settings=chosen)
    assert plan.dates.tolist() == [stamp.date() for stamp in days(3, 4, 5)]
    assert plan.price.tolist() == [[10, 8, 10]]
    assert plan.promo.tolist() == [[0, 1, 0]]
    assert plan.rival_price.tolist() == [[11, 11, 11]]
    assert plan.holiday.tolist() == [0, 1, 0]
    assert panel.holiday.tolist() == [0, 1, 0]


def test_future_plan_of_weeks_rounds_the_horizon_up() -> None:
    sales = sales_of(offsets=[0, 7, 14], units=[1, 1, 1])
    chosen = PricingSettings(horizon_days=15)
    panel = build_panel({"sales": sales}, chosen)
    plan = future_plan(panel, {"sales": sales}, settings=chosen)
    assert plan.price.shape == (1, 3)
    assert plan.dates.tolist() == [stamp.date() for stamp in days(21, 28, 35)]


def test_panel_survives_its_frames_in_any_row_order() -> None:
    sales = table(
        date=days(0, 1, 0, 2),
        product_id=["A", "A", "B", "B"],
        units=[1.0, 2.0, 3.0, 4.0],
        price=[9.0, 8.0, 7.0, 6.0],
    )
    panel = build_panel({"sales": sales}, settings())
    frames = panel_to_frames(panel)
    frames["cells"] = frames["cells"].sample(frac=1, random_state=3)
    back = panel_from_frames(frames)
    pd.testing.assert_frame_equal(back.series, panel.series)
    np.testing.assert_array_equal(back.dates, panel.dates)
    for name in PANEL_MATRICES:
        np.testing.assert_array_equal(getattr(back, name), getattr(panel, name))
        assert getattr(back, name).dtype == getattr(panel, name).dtype


def test_frames_of_a_wrong_size_are_refused() -> None:
    frames = panel_to_frames(build_panel({"sales": sales_of(offsets=[0], units=[1])}, settings()))
    frames["cells"] = pd.concat([frames["cells"], frames["cells"]])
    with pytest.raises(InputError, match="2 rows where 1 series x 1"):
        panel_from_frames(frames)


def test_no_sales_table_and_no_rows_are_clear_errors() -> None:
    with pytest.raises(MissingTableError, match="products"):
        build_panel({"products": table(product_id=["A"])}, settings())
    with pytest.raises(EmptyTableError):
        build_panel({"sales": sales_of(offsets=[], units=[])}, settings())


def test_oversize_panels_are_refused() -> None:
    sales = sales_of(offsets=[0, 90], units=[1, 1], product_id=["A", "B"])
    with pytest.raises(InputError, match="2 product-store series"):
        build_panel({"sales": sales}, settings(max_series=1))
    with pytest.raises(InputError, match="182 cells"):
        build_panel({"sales": sales}, settings(max_cells=100, grain="day"))


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ABC"), st.sampled_from("12"), st.integers(0, 40), st.integers(0, 9)
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from(["day", "week"]),
    st.sampled_from(["auto", "zero", "not_on_sale"]),
)
def test_no_unit_is_lost_and_nothing_sells_off_sale(
    rows: list[tuple[str, str, int, int]], grain: str, absent: str
) -> None:
    sales = table(
        date=days(*(row[2] for row in rows)),
        product_id=[row[0] for row in rows],
        store_id=[row[1] for row in rows],
        units=[float(row[3]) for row in rows],
        price=[float(row[3] + 1) for row in rows],
    )
    panel = build_panel({"sales": sales}, settings(grain=grain, absent_rows=absent))
    assert np.nansum(panel.units) == sum(row[3] for row in rows)
    assert np.array_equal(np.isnan(panel.units), ~panel.on_sale)
    by_series = sales.groupby(["product_id", "store_id"])["units"].sum()
    np.testing.assert_array_equal(np.nansum(panel.units, axis=1), by_series.to_numpy())
