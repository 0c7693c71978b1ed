"""Where a home keeps its searches for forecast parameters: the study, the grid, the last verdict.

Belongs here: opening and closing the SQLite study, and the files beside it. What is searched and
what is accepted is ``core.forecast.tuning``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from pricing_assets.core.errors import PricingError
from pricing_assets.core.forecast.tuned import SettingsInUse, TunedForecast, settings_in_use
from pricing_assets.core.forecast.tuning import (
    MODEL,
    TrialResult,
    TuningProblem,
    search_grid,
    search_study,
)
from pricing_assets.core.settings import PricingSettings
from serving.durable import replace_durably

if TYPE_CHECKING:
    from optuna.study import Study

_STUDIES = "studies.db"
_LAST = "tuned.json"

Progress = Callable[[str], None]


class StudyUnavailableError(PricingError):
    """optuna or its storage cannot be used here; the grid search needs neither."""


@dataclass(frozen=True, slots=True)
class FinishedSearch:
    """A search that is over.

    Attributes:
        tuner: the one that was used in the end.
        study: its name, with the fingerprint of data and settings.
        results: every finished trial.
    """

    tuner: str
    study: str
    results: tuple[TrialResult, ...]


class TuningStoreResource(dg.ConfigurableResource):
    """The searches of a home, and the parameters that the last one found."""

    root: str = Field(description="Folder of the studies and of the last verdict.")

    def search(self, problem: TuningProblem, *, progress: Progress) -> FinishedSearch:
        """Search as the settings say, going on where a search of the same data was stopped."""
        forecast, name = problem.settings.forecast, f"{MODEL}-{problem.fingerprint}"
        if forecast.tuner == "optuna":
            try:
                with self._study(name) as study:
                    trials = forecast.tuning_trials
                    results = search_study(problem, study=study, trials=trials, progress=progress)
                    return FinishedSearch("optuna", name, results)
            except StudyUnavailableError as failure:
                progress(f"{failure}; searching the grid instead")
        results = search_grid(
            problem,
            trials=forecast.tuning_trials,
            finished=self._grid_results(name),
            record=lambda result: self._record(name, result),
            progress=progress,
        )
        return FinishedSearch("grid", name, results)

    def save(self, tuned: TunedForecast) -> None:
        """Keep the verdict for later runs, in one durable step."""
        Path(self.root).mkdir(parents=True, exist_ok=True)
        replace_durably(Path(self.root) / _LAST, tuned.to_json())

    def last(self) -> TunedForecast | None:
        """The last verdict; None where the home was never tuned."""
        path = Path(self.root) / _LAST
        return TunedForecast.from_json(json.loads(path.read_bytes())) if path.is_file() else None

    def in_use(self, settings: PricingSettings) -> SettingsInUse:
        """The settings that models are trained with, tuned parameters in place if accepted."""
        return settings_in_use(settings, self.last())

    @contextmanager
    def _study(self, name: str) -> Iterator[Study]:
        """The study, made or loaded; closed after use.

        Raises:
            StudyUnavailableError: optuna is not installed or the database cannot be opened.
        """
        try:
            import optuna
            from sqlalchemy.exc import SQLAlchemyError
        except ImportError as failure:
            raise StudyUnavailableError(f"optuna cannot be imported ({failure})") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            address = f"sqlite:///{Path(self.root) / _STUDIES}"
            storage = optuna.storages.RDBStorage(address)
            study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
        except (OSError, SQLAlchemyError, optuna.exceptions.StorageInternalError) as failure:
            reason = str(failure).splitlines()[0]
            raise StudyUnavailableError(f"the study cannot be opened ({reason})") from None
        try:
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def _grid_results(self, name: str) -> list[TrialResult]:
        path = self._grid_path(name)
        if not path.is_file():
            return []
        return [
            TrialResult(row["parameters"], tuple(row["losses"]), row["pruned"])
            for row in json.loads(path.read_bytes())
        ]

    def _record(self, name: str, result: TrialResult) -> None:
        rows = [asdict(row) for row in (*self._grid_results(name), result)]
        Path(self.root).mkdir(parents=True, exist_ok=True)
        replace_durably(self._grid_path(name), json.dumps(rows, indent=1).encode())

    def _grid_path(self, name: str) -> Path:
        return Path(self.root) / f"grid-{name}.json"
