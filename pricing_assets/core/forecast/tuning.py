"""The search for LightGBM's parameters: the space, the loss on walk-forward origins, the verdict.

A trial is scored origin by origin and stopped early where it falls behind. The origins searched on
lie before those that walk-forward validation tests, and what the search finds is confirmed on the
latter: the best of many trials looks better than it is. Belongs here: numbers. The optuna study
and what was finished before come in from outside, so that a search goes on after a kill.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.bundle import json_bytes
from pricing_assets.core.forecast.attributes import AttributeCodes
from pricing_assets.core.forecast.design import Design
from pricing_assets.core.forecast.lightgbm import mean_of
from pricing_assets.core.forecast.metrics import wape
from pricing_assets.core.forecast.training_rows import TrainingRows, build_rows, learned_features
from pricing_assets.core.forecast.windows import held_out_origins, horizon_periods, usable_cells
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

Floats = NDArray[np.float64]
Parameters = dict[str, float]
Progress = Callable[[str], None]

MODEL = "lightgbm"
_ORIGINS = 3
_LEAST_CONFIRMED = 2
_STARTUP_TRIALS = 6
_GRID_SLACK = 1.02
_BINS = 3


@dataclass(frozen=True, slots=True)
class Searched:
    """Range of one parameter of ``ForecastParameters``, searched on the log scale.

    Attributes:
        low, high: bounds, both included.
        whole: integers only.
        grid: values that the grid search tries, the likeliest first.
    """

    low: float
    high: float
    whole: bool
    grid: tuple[float, ...]


SPACE: dict[str, Searched] = {
    "learning_rate": Searched(0.02, 0.3, whole=False, grid=(0.05, 0.1, 0.2)),
    "n_estimators": Searched(60, 500, whole=True, grid=(120, 240)),
    "num_leaves": Searched(7, 127, whole=True, grid=(31, 15, 63)),
    "min_data_in_leaf": Searched(10, 300, whole=True, grid=(40, 120)),
}
"""What is searched."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One set of parameters and its losses.

    Attributes:
        parameters: values by name of :data:`SPACE`.
        losses: WAPE at the origins it was tested on, in order.
        pruned: stopped before the last origin.
    """

    parameters: Parameters
    losses: tuple[float, ...]
    pruned: bool

    @property
    def loss(self) -> float:
        """Mean over the tested origins."""
        return float(np.mean(self.losses)) if self.losses else float("inf")


@dataclass(frozen=True, slots=True)
class TestedOrigin:
    """One origin: what is learned from, and what is to be forecast, (S, H)."""

    rows: TrainingRows
    design: Design
    actual: Floats
    usable: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TuningProblem:
    """The loss of any parameters at each origin; rows and designs are built once.

    Attributes:
        searched: origins that trials are scored on.
        confirming: later origins, which only the defaults and the best are scored on.
        names: features to learn from.
        settings: with the defaults.
        fingerprint: 16 hexadecimal digits of the data and the settings that the losses hang on.
    """

    searched: tuple[TestedOrigin, ...]
    confirming: tuple[TestedOrigin, ...]
    names: tuple[str, ...]
    settings: PricingSettings
    fingerprint: str

    def loss(self, parameters: Mapping[str, float], tested: TestedOrigin) -> float:
        """WAPE of the mean at one origin."""
        mean = mean_of(
            tested.design,
            rows=tested.rows,
            names=self.names,
            settings=with_parameters(self.settings, parameters),
        )
        return wape(tested.actual, mean, tested.usable)

    def defaults(self) -> Parameters:
        """The settings' own values."""
        return {name: float(getattr(self.settings.forecast, name)) for name in SPACE}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the search found, and whether later runs use it.

    Attributes:
        parameters: the best trial's.
        accepted: they beat the defaults by more than noise at the confirming origins.
        reason: the figures in one sentence.
        default_losses, best_losses: WAPE at the confirming origins.
    """

    parameters: Parameters
    accepted: bool
    reason: str
    default_losses: tuple[float, ...]
    best_losses: tuple[float, ...]


def tuning_problem(panel: Panel, *, settings: PricingSettings) -> TuningProblem:
    """Origins to search on, and later ones to confirm at.

    Raises:
        TooShortHistoryError: fewer than four periods before the confirming origins.
    """
    horizon = horizon_periods(panel, settings.horizon_days)
    confirmed = max(_LEAST_CONFIRMED, settings.forecast.backtest_origins)
    later = held_out_origins(panel.shape[1], horizon=horizon, count=confirmed)
    earlier = held_out_origins(later[0], horizon=horizon, count=_ORIGINS)
    tested = {
        origin: _tested(panel, origin=origin, settings=settings) for origin in (*earlier, *later)
    }
    return TuningProblem(
        searched=tuple(tested[origin] for origin in earlier),
        confirming=tuple(tested[origin] for origin in later),
        names=learned_features(panel),
        settings=settings,
        fingerprint=_fingerprint(panel, settings),
    )


def with_parameters(settings: PricingSettings, values: Mapping[str, float]) -> PricingSettings:
    """The settings with the given values of :data:`SPACE` in place, checked against its bounds."""
    typed = {name: round(v) if SPACE[name].whole else float(v) for name, v in values.items()}
    forecast = type(settings.forecast).model_validate({**settings.forecast.model_dump(), **typed})
    return settings.model_copy(update={"forecast": forecast})


def search_study(
    problem: TuningProblem, *, study: Study, trials: int, progress: Progress | None = None
) -> tuple[TrialResult, ...]:
    """Tree-structured Parzen search (Bergstra et al. 2011) until the study holds ``trials``.

    The first trial is the defaults. The sampler's seed hangs on the number of finished trials, so
    that a search that was killed and goes on finds what an undisturbed one does; the trial that
    was running when it was killed is tried again.
    """
    from optuna.pruners import MedianPruner
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    study.pruner = MedianPruner(n_startup_trials=_STARTUP_TRIALS)
    for stale in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(stale.number, state=TrialState.FAIL)
    while (done := len(_finished(study))) < trials:
        if done == 0 and not study.get_trials(states=(TrialState.WAITING,)):
            study.enqueue_trial(problem.defaults())
        seed = problem.settings.seed + done
        study.sampler = TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
        result = _run_trial(problem, study, study.ask())
        if progress is not None:
            progress(_line(result, number=done + 1, of=trials))
    return tuple(_result(trial) for trial in _finished(study))


def search_grid(
    problem: TuningProblem,
    *,
    trials: int,
    finished: Sequence[TrialResult] = (),
    record: Callable[[TrialResult], None],
    progress: Progress | None = None,
) -> tuple[TrialResult, ...]:
    """The defaults, then the grid, until there are ``trials``; for where optuna cannot be used.

    A trial is stopped when its running mean is 2 % above the best's over the same origins.

    Args:
        finished: results of a search that was killed, in its order.
        record: called with each result before the next trial starts.
    """
    results = list(finished)
    wanted = [problem.defaults(), *_grid_points(problem)][:trials]
    for parameters in wanted[len(results) :]:
        best = min((r for r in results if not r.pruned), key=lambda r: r.loss, default=None)
        result = _grid_trial(problem, parameters, best=best)
        record(result)
        results.append(result)
        if progress is not None:
            progress(_line(result, number=len(results), of=len(wanted)))
    return tuple(results)


def judge(problem: TuningProblem, results: Iterable[TrialResult]) -> Verdict:
    """Score the best trial against the defaults where the search has not looked.

    Accepted if the mean gain in WAPE is above its standard error over the confirming origins.
    """
    best = min((r for r in results if not r.pruned), key=lambda r: r.loss)
    defaults = problem.defaults()
    if with_parameters(problem.settings, best.parameters) == problem.settings:
        return Verdict(defaults, False, "no trial was better than the defaults", (), ())
    plain = tuple(problem.loss(defaults, tested) for tested in problem.confirming)
    tuned = tuple(problem.loss(best.parameters, tested) for tested in problem.confirming)
    gap = np.subtract(plain, tuned)
    if gap.size < _LEAST_CONFIRMED:
        reason = "the history is too short to tell a gain from noise"
        return Verdict(best.parameters, False, reason, plain, tuned)
    noise = float(gap.std(ddof=1) / np.sqrt(gap.size))
    accepted = bool(gap.mean() > noise)
    reason = (
        f"WAPE {np.mean(tuned):.4f} against {np.mean(plain):.4f} of the defaults at "
        f"{gap.size} origins that the search has not seen, noise {noise:.4f}: "
        f"{'used' if accepted else 'not used'}"
    )
    return Verdict(best.parameters, accepted, reason, plain, tuned)


def importances(results: Sequence[TrialResult]) -> dict[str, float]:
    """Share of the losses' variance between thirds of each parameter's values; they sum to 1.

    The correlation ratio of each parameter alone: interactions are not counted.
    """
    losses = np.asarray([result.losses[0] for result in results])
    explained = {}
    for name in SPACE:
        values = np.asarray([result.parameters[name] for result in results])
        order = np.argsort(values, kind="stable")
        parts = [losses[part] for part in np.array_split(order, _BINS) if part.size]
        between = sum(part.size * (part.mean() - losses.mean()) ** 2 for part in parts)
        explained[name] = float(between)
    total = sum(explained.values())
    return {name: value / total if total > 0 else 0.0 for name, value in explained.items()}


def _tested(panel: Panel, *, origin: int, settings: PricingSettings) -> TestedOrigin:
    codes = AttributeCodes.learn(panel)
    builder = build_rows(panel, end=origin, tests=(origin,), codes=codes, settings=settings)
    design = builder.design(origin)
    span = slice(origin, origin + design.base.shape[1])
    return TestedOrigin(
        rows=builder.rows(limit=settings.forecast.max_rows),
        design=design,
        actual=panel.units[:, span],
        usable=usable_cells(panel)[:, span],
    )


def _run_trial(problem: TuningProblem, study: Study, trial: Trial) -> TrialResult:
    from optuna.trial import TrialState

    parameters = {
        name: _suggest(trial, name, default=default) for name, default in problem.defaults().items()
    }
    losses: list[float] = []
    for step, tested in enumerate(problem.searched):
        losses.append(problem.loss(parameters, tested))
        trial.report(float(np.mean(losses)), step)
        if step < len(problem.searched) - 1 and trial.should_prune():
            break
    result = TrialResult(parameters, tuple(losses), pruned=len(losses) < len(problem.searched))
    trial.set_user_attr("losses", losses)
    if result.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, result.loss)
    return result


def _suggest(trial: Trial, name: str, *, default: float) -> float:
    """A value of the range, which is widened to hold the default."""
    low, high = min(SPACE[name].low, default), max(SPACE[name].high, default)
    if SPACE[name].whole:
        return float(trial.suggest_int(name, int(low), int(high), log=True))
    return trial.suggest_float(name, low, high, log=True)


def _finished(study: Study) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return study.get_trials(deepcopy=False, states=states)


def _result(trial: FrozenTrial) -> TrialResult:
    from optuna.trial import TrialState

    return TrialResult(
        parameters={name: float(value) for name, value in trial.params.items()},
        losses=tuple(trial.user_attrs["losses"]),
        pruned=trial.state == TrialState.PRUNED,
    )


def _grid_points(problem: TuningProblem) -> list[Parameters]:
    """Every combination but the defaults themselves."""
    values = product(*(searched.grid for searched in SPACE.values()))
    points = [dict(zip(SPACE, point, strict=True)) for point in values]
    return [point for point in points if point != problem.defaults()]


def _grid_trial(
    problem: TuningProblem, parameters: Parameters, *, best: TrialResult | None
) -> TrialResult:
    losses: list[float] = []
    for step, tested in enumerate(problem.searched, start=1):
        losses.append(problem.loss(parameters, tested))
        bar = np.inf if best is None else _GRID_SLACK * float(np.mean(best.losses[:step]))
        if step < len(problem.searched) and np.mean(losses) > bar:
            return TrialResult(parameters, tuple(losses), pruned=True)
    return TrialResult(parameters, tuple(losses), pruned=False)


def _line(result: TrialResult, *, number: int, of: int) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in result.parameters.items())
    state = f"stopped after {len(result.losses)}" if result.pruned else f"WAPE {result.loss:.4f}"
    return f"trial {number} of {of}: {state} ({values})"


def _fingerprint(panel: Panel, settings: PricingSettings) -> str:
    digest = hashlib.sha256(
        json_bytes(
            {
                "forecast": settings.forecast.model_dump(mode="json"),
                "horizon_days": settings.horizon_days,
                "seed": settings.seed,
                "space": {name: [item.low, item.high] for name, item in SPACE.items()},
                "dates": [str(panel.dates[0]), str(panel.dates[-1])],
            }
        )
    )
    for values in (panel.units, panel.price, panel.promo):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]
