"""Writing a simulated market for the command line and the demo.

Belongs here: parameters in, files and one sentence out. The market is ``core.market``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.market import MarketParameters, simulate_market
from resources.market_file import write_market


def write_simulated_market(
    folder: Path, *, parameters: Mapping[str, Any], file_format: Literal["parquet", "csv"]
) -> str:
    """Write the raw tables and ``market.json``; return the market's size in one sentence.

    Raises:
        InvalidSettingError: a parameter outside its bounds, or a folder that is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidSettingError(f"'{folder}' is a file; name a folder with --out")
    chosen = _parameters(parameters)
    tables = simulate_market(chosen).raw_tables()
    write_market(folder, tables=tables, parameters=chosen.model_dump(), file_format=file_format)
    rows = ", ".join(f"{name} {len(frame):,} rows" for name, frame in tables.items())
    return (
        f"simulated {chosen.products} products x {chosen.days} days"
        f"{f' x {chosen.stores} stores' if chosen.stores > 1 else ''} (seed {chosen.seed}) "
        f"into {folder}: {rows}"
    )


def _parameters(values: Mapping[str, Any]) -> MarketParameters:
    try:
        return MarketParameters(**values)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
        name = ".".join(str(part) for part in error["loc"])
        raise InvalidSettingError(f"--{name} {error['input']}: {error['msg']}") from None
