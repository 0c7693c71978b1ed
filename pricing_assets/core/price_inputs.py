"""What the search for prices is given: curves, guard rails, candidate prices and facts.

Belongs here: turning the rows of a frame into the arrays of ``core.price_search``. The frame that
comes out is ``core.price_table``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.currency import to_major
from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.errors import MissingCostError
from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.price_endings import CandidatePrices
from pricing_assets.core.price_rules import Rule
from pricing_assets.core.price_search import PriceFacts, Substitutes
from pricing_assets.core.row_rails import OPTIONAL_FACTS, RowRails, row_rails
from pricing_assets.core.sell_through import target_multipliers
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import (
    UnitWorth,
    needs_cost,
    objective_worth,
    unit_worth,
)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SearchInputs:
    """n rows ready to be searched.

    Attributes:
        frame: curves with their facts, n rows.
        curves: their demand; a neutral curve where there is none.
        usable: (n,) which rows have one.
        bounds, found: guard rails, and the allowed prices to search in minor units.
        rails: the same rails with the rules between rows.
        facts: worth of a unit, stock, substitutes, and which rows may change.
    """

    frame: pd.DataFrame
    curves: DemandCurves
    usable: Flags
    bounds: PriceBounds
    found: CandidatePrices
    rails: RowRails
    facts: PriceFacts

    @property
    def candidates(self) -> Floats:
        """(n, k) prices to search, currency units; column 0 changes least."""
        return to_major(np.maximum(self.found.prices, 1), exponent=self.bounds.exponent)

    @property
    def current_price(self) -> Floats:
        """(n,) currency units; one minor unit where there is none."""
        return to_major(np.maximum(self.bounds.current, 1), exponent=self.bounds.exponent)

    @property
    def known(self) -> Flags:
        """(n,) rows with a price and a demand curve: what they bring can be said."""
        return np.asarray(self.usable & self.bounds.priceable)

    def objective_worth(self, settings: PricingSettings) -> UnitWorth:
        """The worth of a unit without the multipliers of goals."""
        current = _floats(self.frame, "current_price")
        cost = self.facts.unit_cost
        return objective_worth(unit_cost=cost, current_price=current, settings=settings)


def search_inputs(frame: pd.DataFrame, *, settings: PricingSettings) -> SearchInputs:
    """The search's arrays for the rows of ``frame``, from ``curves_with_facts``.

    Raises:
        MissingCostError: the objective weighs profit and no product has a unit cost.
    """
    require_costs(_floats(frame, "unit_cost"), settings=settings)
    inputs = row_inputs(frame, settings=settings)
    share = settings.sell_through.target_share
    if settings.objective != "sell_through" or share is None:
        return inputs
    return _selling_through(inputs, settings=settings, share=share)


def row_inputs(
    frame: pd.DataFrame, *, settings: PricingSettings, candidates: int | None = None
) -> SearchInputs:
    """``search_inputs`` of a part of a catalogue: whether any cost is known is not asked here.

    ``candidates`` as in ``row_rails``; a target of ``sell_through`` is left out.
    """
    rails = row_rails(frame, settings=settings, candidates=candidates)
    curves, usable = usable_curves(frame)
    facts = price_facts(frame, bounds=rails.bounds, usable=usable, settings=settings)
    return SearchInputs(
        frame=frame,
        curves=curves,
        usable=usable,
        bounds=rails.bounds,
        found=rails.found,
        rails=rails,
        facts=facts,
    )


def _selling_through(
    inputs: SearchInputs, *, settings: PricingSettings, share: float
) -> SearchInputs:
    """The inputs with units worth as much more as the target share of each stock asks for."""
    added = target_multipliers(
        inputs.objective_worth(settings),
        curves=inputs.curves,
        candidates=inputs.candidates,
        available=inputs.facts.available,
        target_share=share,
    )
    worth = inputs.facts.worth
    raised = UnitWorth(slope=worth.slope, intercept=worth.intercept - added)
    return replace(inputs, facts=replace(inputs.facts, worth=raised))


def require_costs(unit_cost: Floats, *, settings: PricingSettings) -> None:
    """Refuse an objective that weighs profit without any cost; ask before models are trained.

    Args:
        unit_cost: of every product, any shape, currency units; NaN unknown.
        settings: give the objective.

    Raises:
        MissingCostError: the objective weighs profit and every cost is unknown.
    """
    if needs_cost(settings) and unit_cost.size and np.isnan(unit_cost).all():
        raise MissingCostError(
            f"the objective is {settings.objective}, but no product has a unit cost. Provide one "
            "of: a column unit_cost in products; a costs table (date, product_id, unit_cost); a "
            'mapping of your own heading, columns: {products: {unit_cost: "Your heading"}}; or set '
            "objective: revenue"
        )


def curves_with_facts(curve_frame: pd.DataFrame, panel_facts: pd.DataFrame) -> pd.DataFrame:
    """Curves with their facts, in the curves' order; cost and MAP are the facts' own."""
    key = ["product_id", "store_id"]
    curves = curve_frame.drop(columns=["unit_cost", "map_price"], errors="ignore")
    columns = [*key, "current_price", "unit_cost", "map_price", "on_hand", "replenished"]
    columns += [name for name in OPTIONAL_FACTS if name in panel_facts]
    return curves.merge(panel_facts[columns], on=key, how="left", validate="one_to_one")


def usable_curves(frame: pd.DataFrame) -> tuple[DemandCurves, Flags]:
    """Curves of the frame, and which rows (n,) have one: the others get a neutral curve."""
    names = DemandCurves.__slots__
    raw = {name: _floats(frame, name) for name in names}
    usable = np.logical_and.reduce([np.isfinite(values) for values in raw.values()])
    usable &= (raw["reference_price"] > 0) & (raw["reference_units"] >= 0)
    usable &= (raw["elasticity_mean"] < 0) & (raw["elasticity_sd"] >= 0)
    usable &= raw["reference_units_cv"] >= 0
    neutral = dict.fromkeys(names, 0.0) | {"reference_price": 1.0, "elasticity_mean": -1.0}
    return DemandCurves(**{n: np.where(usable, raw[n], neutral[n]) for n in names}), usable


def price_facts(
    frame: pd.DataFrame, *, bounds: PriceBounds, usable: Flags, settings: PricingSettings
) -> PriceFacts:
    """Cost, worth, stock (where it is not replenished) and whether each price may change."""
    refused = bounds.refusal != Rule.NONE
    cost = np.where(refused, np.nan, _floats(frame, "unit_cost"))
    restocked = frame["replenished"].isin([True]) | frame["replenished"].isna()
    on_hand = np.where(restocked, np.nan, _floats(frame, "on_hand"))
    current = _floats(frame, "current_price")
    worth = unit_worth(
        unit_cost=cost,
        current_price=current,
        settings=settings,
        rival_price=_floats(frame, "reference_rival_price"),
    )
    known = np.isfinite(worth.intercept)
    return PriceFacts(
        unit_cost=cost,
        worth=worth,
        available=np.where(np.isfinite(on_hand), np.maximum(on_hand, 0), np.inf),
        changeable=usable & known & ~refused & bounds.priceable,
        substitutes=substitutes_of(frame, usable=usable),
    )


def substitutes_of(frame: pd.DataFrame, *, usable: Flags) -> Substitutes:
    """Products of one category and store; none where the category or the column is missing."""
    rows = np.arange(len(frame))
    if not {"category", "cross_elasticity"} <= set(frame.columns):
        return Substitutes(rows, np.zeros(len(frame)))
    category = frame["category"].fillna("").astype(str)
    named = usable & (category != "").to_numpy()
    group = frame.groupby([category, frame["store_id"].astype(str)], sort=False).ngroup()
    answer = _floats(frame, "cross_elasticity")
    return Substitutes(
        group=np.where(named, group.to_numpy(dtype=np.int64), len(frame) + rows),
        elasticity=np.where(named & np.isfinite(answer), np.maximum(answer, 0.0), 0.0),
    )


def _floats(frame: pd.DataFrame, column: str) -> Floats:
    return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
