"""Settings from YAML and the environment: every mistake is one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_assets.core.errors import InputError, InvalidSettingError, UnknownKeyError
from pricing_assets.core.settings import PricingSettings
from serving.home import Home, load_settings, read_environment


def settings_of(folder: Path, text: str) -> PricingSettings:
    path = folder / "pricing.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def test_every_key_has_a_default(tmp_path: Path) -> None:
    assert settings_of(tmp_path, "") == PricingSettings()


def test_values_are_taken_at_any_depth(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        "\ufeffobjective: revenue\nmin_margin: 0\nguardrails: {price_ending: '95'}\n"
        "columns: {sales: {units: Qty}, product_id: SKU}\n",
    )
    assert settings.objective == "revenue"
    assert settings.min_margin == 0
    assert settings.guardrails.price_ending == "95"
    assert settings.columns == {"sales": {"units": "Qty"}, "product_id": "SKU"}


def test_settings_written_as_json_read_back_the_same(tmp_path: Path) -> None:
    settings = PricingSettings(min_margin=1e-05, objective="revenue")
    path = tmp_path / "settings.json"
    path.write_text(settings.model_dump_json(indent=2))
    assert load_settings(path) == settings


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("min_marign: 0.2", "min_marign", "min_margin"),
        ("forecast: {n_estimator: 20}", "forecast.n_estimator", "forecast.n_estimators"),
        ("serving: {Port: 80}", "serving.Port", "serving.port"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, text: str, key: str, near: str) -> None:
    with pytest.raises(UnknownKeyError) as caught:
        settings_of(tmp_path, text)
    message = str(caught.value)
    assert f"'{key}'" in message
    assert f"did you mean '{near}'" in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("min_margin: 1.5", ["min_margin", "1.5", "at least 0", "below 1"]),
        ("min_margin: .nan", ["min_margin", "finite"]),
        ("guardrails: {absolute_ceiling: .inf}", ["guardrails.absolute_ceiling", "finite"]),
        ("min_margin: '0.2'", ["min_margin", "'0.2'", "a number"]),
        ("horizon_days: 28.5", ["horizon_days", "28.5", "a whole number"]),
        ("horizon_days: true", ["horizon_days", "True", "a whole number"]),
        ("objective: profits", ["objective", "'profits'", "'profit', 'revenue'"]),
        ("currency: usd", ["currency", "'usd'", "matching"]),
        ("guardrails: {price_ending: 99}", ["guardrails.price_ending", "99", "one of 'none'"]),
        ("guardrails: 3", ["guardrails", "a mapping"]),
        ("columns: {sales: 3}", ["columns"]),
        ("seed: 1\nseed: 2", ["seed", "twice"]),
    ],
)
def test_a_wrong_value_names_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    with pytest.raises(InvalidSettingError) as caught:
        settings_of(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "a: [1, 2\n", "\x00"])
def test_a_file_that_is_no_mapping_is_one_clear_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        settings_of(tmp_path, text)
    assert "pricing.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml' is not there"):
        load_settings(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        load_settings(tmp_path)


def test_the_environment_is_read_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "x.yaml"
    config.write_text("seed: 99")
    monkeypatch.setenv("PRICING_CONFIG", str(config))
    monkeypatch.setenv("PRICING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PRICING_API_TOKEN", "secret")
    monkeypatch.setenv("PRICING_REDIS_URL", "")
    assert load_settings(None).seed == 99
    assert Home.at().tables == tmp_path.resolve() / "home" / "tables"
    environment = read_environment()
    assert environment.redis_url is None
    assert "secret" not in repr(environment)
    monkeypatch.delenv("PRICING_CONFIG")
    monkeypatch.delenv("PRICING_HOME")
    assert load_settings(None).seed == PricingSettings().seed
    assert Home.at().root.name == ".pricing"
