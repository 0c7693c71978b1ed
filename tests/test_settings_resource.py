"""The Dagster resource mirrors the settings exactly."""

from __future__ import annotations

import dagster as dg
import pytest

from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.price_parameters import GuardRailParameters
from pricing_assets.core.settings import IngestionParameters, PricingSettings
from resources.settings import SettingsResource

SETTINGS = PricingSettings(
    objective="revenue",
    currency="EUR",
    min_margin=0.3,
    columns={"price": "Preis", "sales": {"units": "Stück"}},
    ingestion=IngestionParameters(reader="m5", max_quarantined_share=0),
    forecast=ForecastParameters(model="ses_weekday"),
    guardrails=GuardRailParameters(price_ending="95", absolute_ceiling=500),
)


@pytest.mark.parametrize("settings", [PricingSettings(), SETTINGS])
def test_round_trip(settings: PricingSettings) -> None:
    assert SettingsResource.of(settings).settings() == settings


def test_the_launchpad_changes_one_value_and_leaves_the_rest() -> None:
    seen: list[PricingSettings] = []

    @dg.asset
    def look(settings: SettingsResource) -> None:
        seen.append(settings.settings())

    config = {"guardrails": {"absolute_ceiling": 9.5}, "forecast": {"model": "lightgbm"}}
    dg.materialize(
        [look],
        resources={"settings": SettingsResource.of(SETTINGS)},
        run_config={"resources": {"settings": {"config": config}}},
    )
    assert seen[0].guardrails.absolute_ceiling == 9.5
    assert seen[0].guardrails.price_ending == "95"
    assert seen[0].forecast == ForecastParameters(model="lightgbm")
    assert seen[0].columns == SETTINGS.columns


def test_every_section_has_its_bounds_and_descriptions() -> None:
    for name, field in PricingSettings.model_fields.items():
        assert SettingsResource.model_fields[name].description or field.description is None
    with pytest.raises(ValueError, match="less than 1"):
        SettingsResource(min_margin=1.5)
