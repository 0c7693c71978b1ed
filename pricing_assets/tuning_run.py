"""``pricing tune``: run the search as a job of the home, and say what it found."""

from __future__ import annotations

from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.pipeline_run import run_job
from resources.tuning_store import TuningStoreResource
from serving.home import Home


def tune_lines(
    home: Home, *, data: str | None, config: str | None, trials: int | None
) -> list[str]:
    """Search, and the verdict in lines for a person.

    Args:
        data: raw tables; None takes ``PRICING_DATA``.
        config: YAML; None takes ``PRICING_CONFIG``.
        trials: trials in all; None takes ``forecast.tuning_trials``.

    Raises:
        InputError: the data or the configuration is wrong.
        InvalidSettingError: ``trials`` below 1.
    """
    if trials is not None and trials < 1:
        raise InvalidSettingError(f"--trials is {trials}; give a whole number from 1 on")
    overrides = {} if trials is None else {"forecast": {"tuning_trials": trials}}
    finished = run_job("tune_forecast", home=home, data=data, config=config, overrides=overrides)
    tuned = TuningStoreResource(root=str(home.tuning)).last()
    assert tuned is not None
    values = ", ".join(f"{name} {value:.4g}" for name, value in sorted(tuned.parameters.items()))
    return [
        f"{tuned.trials} trials of study {tuned.study} ({tuned.tuner})",
        f"best: {values}",
        tuned.reason,
        f"MLflow run {finished.mlflow_run_id}",
    ]
