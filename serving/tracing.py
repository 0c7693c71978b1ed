"""OpenTelemetry by a switch: off unless ``serving.tracing_endpoint`` names a collector.

Belongs here: BentoML's own tracing, configured, and the same around the gate, whose answers never
pass BentoML's middlewares.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from pricing_assets.core.errors import InputError
from pricing_assets.core.serving_parameters import ServingParameters
from serving.replies import Application

_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_UNTRACED = "livez,readyz,metrics"


def bentoml_tracing(parameters: ServingParameters) -> dict[str, Any]:
    """BentoML's configuration of tracing; empty where it is off.

    Raises:
        InputError: an endpoint is set, and the exporter is not installed.
    """
    if parameters.tracing_endpoint is None:
        return {}
    if not _is_installed(_EXPORTER):
        raise InputError(
            "serving.tracing_endpoint is set, and OpenTelemetry's exporter is not installed: "
            "pip install 'pricing-assets[tracing]'"
        )
    return {
        "tracing": {
            "exporter_type": "otlp",
            "sample_rate": 1.0,
            "excluded_urls": _UNTRACED,
            "otlp": {"protocol": "http", "endpoint": parameters.tracing_endpoint, "http": {}},
        }
    }


def traced(application: Application) -> Application:
    """``application`` with a span for each request, sent to BentoML's tracer."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(
        application,
        excluded_urls=BentoMLContainer.tracing_excluded_urls.get(),
        tracer_provider=BentoMLContainer.tracer_provider.get(),
    )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
