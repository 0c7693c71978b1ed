"""The whole graph as one Dagster run in a home's own instance, so that Dagster's page shows it.

Belongs here: the instance, the partitions, the run and its failure. What is run is
``definitions``; the lines seen meanwhile are ``progress``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pricing_assets.core.errors import PricingError
from pricing_assets.core.settings import PricingSettings
from serving.durable import replace_durably
from serving.home import Home, load_settings

if TYPE_CHECKING:
    import dagster as dg

ROOT = Path(__file__).resolve().parent.parent
QUIET_ENVIRONMENT = {
    "DAGSTER_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
}


class BlockedRunError(PricingError):
    """A blocking check failed: nothing after it ran, and the published table stays."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that succeeded.

    Attributes:
        run_id: the Dagster run.
        mlflow_run_id: its MLflow run; None where no step tracked anything.
        table_version: the current published version; None where none is.
        reused: the earlier run whose features, models and curves this one took, since nothing
            that they are made from has changed; None where everything was made.
    """

    run_id: str
    mlflow_run_id: str | None
    table_version: str | None
    reused: str | None = None


def prepare_home(home: Home) -> None:
    """Make DAGSTER_HOME with the project's ``dagster.yaml``, which counts only there."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    replace_durably(home.dagster / "dagster.yaml", (ROOT / "dagster.yaml").read_bytes())


def home_environment(
    *, home: Home, data: str | None = None, config: str | None = None
) -> dict[str, str]:
    """The variables under which definitions of this home are built, here or in a child."""
    values = {"PRICING_HOME": str(home.root), "DAGSTER_HOME": str(home.dagster)}
    if data is not None:
        values["PRICING_DATA"] = data if "://" in data else str(Path(data).expanduser().resolve())
    if config is not None:
        values["PRICING_CONFIG"] = str(Path(config).expanduser().resolve())
    return {**QUIET_ENVIRONMENT, **values}


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables, and put the old ones back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def run_job(
    job_name: str,
    *,
    home: Home,
    data: str | None = None,
    config: str | None = None,
    descriptor: int = 2,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    reuse: bool = False,
) -> FinishedRun:
    """Run a job of the definitions in this process, as a run of the home's instance.

    Args:
        job_name: a job of ``automation``.
        home: state; made where it is not there.
        data: raw tables; None takes ``PRICING_DATA``.
        config: YAML; None takes ``PRICING_CONFIG``.
        descriptor: file descriptor for progress lines.
        overrides: settings for this run alone, by section; the rest are as configured.
        reuse: where the last whole run was made from the same data, settings and code, take its
            models and curves, and make prices alone.

    Raises:
        InputError: the data or the configuration is wrong.
        BlockedRunError: a blocking check failed.
    """
    prepare_home(home)
    with (
        environment(home_environment(home=home, data=data, config=config)),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # beta notices of libraries say nothing to this person
        return _run(
            job_name,
            home=home,
            descriptor=os.dup(descriptor),
            overrides=overrides or {},
            reuse=reuse,
        )


def _run(
    job_name: str,
    *,
    home: Home,
    descriptor: int,
    overrides: Mapping[str, Mapping[str, Any]],
    reuse: bool,
) -> FinishedRun:
    import dagster as dg
    from dagster._core.errors import DagsterAssetCheckFailedError  # exported nowhere else

    from pricing_assets.definitions import build_definitions
    from pricing_assets.unchanged_inputs import REUSED_TAG, unchanged_run

    definitions = build_definitions(resource_overrides=_overridden(overrides))
    try:
        with dg.DagsterInstance.get() as instance:
            tags = _tags(definitions, instance) if job_name != _price_update() else {}
            earlier = unchanged_run(instance, home, tags) if reuse else None
            if earlier is not None:
                job_name, tags = _price_update(), {REUSED_TAG: earlier.run_id}
            result = definitions.resolve_job_def(job_name).execute_in_process(
                instance=instance,
                tags=tags,
                run_config={"loggers": _loggers(definitions, descriptor)},
            )
            run = instance.get_run_by_id(result.run_id)
    except DagsterAssetCheckFailedError as failure:
        raise BlockedRunError(_blocked(failure)) from None
    finally:
        os.close(descriptor)
    return _finished(run, home, earlier=earlier)


def _overridden(overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """The settings resource with sections changed; none where nothing is."""
    if not overrides:
        return {}
    from resources.settings import SettingsResource

    values = load_settings().model_dump()
    for section, changed in overrides.items():
        values[section] |= changed
    return {"settings": SettingsResource.of(PricingSettings.model_validate(values))}


def _price_update() -> str:
    from pricing_assets.automation import PRICE_UPDATE

    return PRICE_UPDATE


def _tags(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, str]:
    from pricing_assets.automation import sync_sales_months
    from pricing_assets.unchanged_inputs import INPUTS_TAG, inputs_version

    resources: Any = definitions.resources
    months = sync_sales_months(instance, resources["raw_tables"], resources["settings"])
    return {**months, INPUTS_TAG: inputs_version(definitions)}


def _loggers(definitions: dg.Definitions, descriptor: int) -> dict[str, Any]:
    from pricing_assets.progress import PROGRESS

    quiet = [check.node_def.name for check in definitions.asset_checks or ()]
    return {PROGRESS: {"config": {"descriptor": descriptor, "quiet_steps": quiet}}}


def _blocked(failure: Exception) -> str:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return (
        f"a blocking check failed ({'; '.join(lines[1:]) or lines[0]}), so nothing was published "
        "and the current price table stays. Its value and threshold are above and in Dagster's "
        "page (pricing dev)"
    )


def _finished(run: Any, home: Home, *, earlier: Any) -> FinishedRun:
    from resources.tracking import MLFLOW_RUN_TAG
    from serving.price_store import PriceStore

    return FinishedRun(
        run_id=run.run_id,
        mlflow_run_id=(earlier or run).tags.get(MLFLOW_RUN_TAG),
        table_version=PriceStore(home.tables).current(),
        reused=earlier.run_id if earlier is not None else None,
    )
