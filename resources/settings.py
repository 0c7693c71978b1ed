"""The settings as a Dagster resource, so that every parameter is seen and edited in the launchpad.

Belongs here: the mirror of ``core.settings`` in Dagster's config types. Bounds, units and
descriptions are inherited, never written again; reading YAML is ``serving.home``.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.monitoring_parameters import MonitoringParameters
from pricing_assets.core.off_policy_parameters import OffPolicyParameters
from pricing_assets.core.parameters import Parameters
from pricing_assets.core.portfolio_parameters import GoalMultipliers, PortfolioParameters
from pricing_assets.core.price_parameters import (
    BatchBreakerParameters,
    GuardRailParameters,
    ObjectiveWeights,
    PriceTableParameters,
    SellThroughParameters,
)
from pricing_assets.core.scale_parameters import OrchestrationParameters, SparkParameters
from pricing_assets.core.serving_parameters import AuditParameters, ServingParameters
from pricing_assets.core.settings import (
    ElasticityParameters,
    GateParameters,
    IngestionParameters,
    PricingSettings,
)
from pricing_assets.core.streaming_parameters import StreamingParameters


class IngestionConfig(dg.Config, IngestionParameters):
    """``ingestion`` in the launchpad."""


class ForecastConfig(dg.Config, ForecastParameters):
    """``forecast`` in the launchpad."""


class ElasticityConfig(dg.Config, ElasticityParameters):
    """``elasticity`` in the launchpad."""


class ObjectiveWeightsConfig(dg.Config, ObjectiveWeights):
    """``objective_weights`` in the launchpad."""


class PortfolioConfig(dg.Config, PortfolioParameters):
    """``portfolio`` in the launchpad."""


class GoalMultipliersConfig(dg.Config, GoalMultipliers):
    """``multipliers`` in the launchpad."""


class SellThroughConfig(dg.Config, SellThroughParameters):
    """``sell_through`` in the launchpad."""


class BatchBreakerConfig(dg.Config, BatchBreakerParameters):
    """``batch_breaker`` in the launchpad."""


class GuardRailConfig(dg.Config, GuardRailParameters):
    """``guardrails`` in the launchpad."""


class PriceTableConfig(dg.Config, PriceTableParameters):
    """``price_table`` in the launchpad."""


class OffPolicyConfig(dg.Config, OffPolicyParameters):
    """``off_policy`` in the launchpad."""


class GateConfig(dg.Config, GateParameters):
    """``gate`` in the launchpad."""


class MonitoringConfig(dg.Config, MonitoringParameters):
    """``monitoring`` in the launchpad."""


class ServingConfig(dg.Config, ServingParameters):
    """``serving`` in the launchpad."""


class AuditConfig(dg.Config, AuditParameters):
    """``audit`` in the launchpad."""


class OrchestrationConfig(dg.Config, OrchestrationParameters):
    """``orchestration`` in the launchpad; the executor itself is chosen when code is loaded."""


class SparkConfig(dg.Config, SparkParameters):
    """``spark`` in the launchpad."""


class StreamingConfig(dg.Config, StreamingParameters):
    """``streaming`` in the launchpad."""


class SettingsResource(dg.ConfigurableResource, PricingSettings):
    """All settings of a home; ``settings()`` gives the core model back.

    Only fields whose type Dagster's config cannot express are declared again: each nested model
    as its ``dg.Config`` twin, and ``columns`` (text or a mapping of text, a union) as ``Any``.
    """

    columns: dict[str, Any] = Field(
        default_factory=dict, description=PricingSettings.model_fields["columns"].description
    )
    ingestion: IngestionConfig = Field(default_factory=IngestionConfig)
    forecast: ForecastConfig = Field(default_factory=ForecastConfig)
    elasticity: ElasticityConfig = Field(default_factory=ElasticityConfig)
    objective_weights: ObjectiveWeightsConfig = Field(default_factory=ObjectiveWeightsConfig)
    sell_through: SellThroughConfig = Field(default_factory=SellThroughConfig)
    portfolio: PortfolioConfig = Field(default_factory=PortfolioConfig)
    multipliers: GoalMultipliersConfig = Field(default_factory=GoalMultipliersConfig)
    guardrails: GuardRailConfig = Field(default_factory=GuardRailConfig)
    batch_breaker: BatchBreakerConfig = Field(default_factory=BatchBreakerConfig)
    price_table: PriceTableConfig = Field(default_factory=PriceTableConfig)
    off_policy: OffPolicyConfig = Field(default_factory=OffPolicyConfig)
    gate: GateConfig = Field(default_factory=GateConfig)
    monitoring: MonitoringConfig = Field(default_factory=MonitoringConfig)
    serving: ServingConfig = Field(default_factory=ServingConfig)
    audit: AuditConfig = Field(default_factory=AuditConfig)
    orchestration: OrchestrationConfig = Field(default_factory=OrchestrationConfig)
    spark: SparkConfig = Field(default_factory=SparkConfig)
    streaming: StreamingConfig = Field(default_factory=StreamingConfig)

    @classmethod
    def of(cls, settings: PricingSettings) -> SettingsResource:
        """The resource that holds exactly ``settings``.

        Dagster fills a section given in part from its class, not from the resource, so the
        classes themselves take the values as their defaults.
        """
        sections = {
            name: _with_defaults(field.annotation, getattr(settings, name))
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, dg.Config)
        }
        fields: dict[str, Any] = {
            name: (section, Field(default_factory=section)) for name, section in sections.items()
        }
        resource = create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, **fields)
        return resource(**settings.model_dump(exclude=set(sections)))

    def settings(self) -> PricingSettings:
        """The core settings.

        Raises:
            pydantic.ValidationError: a value from the launchpad outside its bounds.
        """
        values = {name: _plain(getattr(self, name)) for name in PricingSettings.model_fields}
        return PricingSettings.model_validate(values)


def _with_defaults(section: type[dg.Config], values: Parameters) -> type[dg.Config]:
    """The same section, with ``values`` as its defaults; bounds and descriptions stay."""
    fields: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        given = copy(field)
        given.default, given.default_factory = getattr(values, name), None
        fields[name] = (field.annotation, given)
    return create_model(section.__name__, __base__=section, __doc__=section.__doc__, **fields)


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, dg.Config) else value
