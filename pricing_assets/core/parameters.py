"""The base of every parameter model.

Belongs here: what all of them share. Parameters of the forecaster are ``forecast_parameters``, of
the price engine ``price_parameters``, of the service ``serving_parameters``; all settings together
are ``settings``.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Parameters(BaseModel):
    """Base of all parameter models: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
