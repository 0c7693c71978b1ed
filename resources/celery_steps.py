"""Dagster steps on Celery workers over Redis (extra ``scale``).

Belongs here: the one configuration of both ends, the executor that sends steps and the workers
that take them. Both are made from the settings (``PRICING_CONFIG``), so they cannot differ; with
dagster-celery's own command they would have to be written twice, and a worker whose YAML does not
nest under ``execution: config:`` listens to AMQP in silence while the run waits for ever.

A step is acknowledged when it has ended, never when it is taken. So a step whose process dies
goes back to the queue at once, and one whose machine vanishes goes to another worker after
``celery_redelivery_seconds``. It then runs again from its start: steps write whole files and may
be run twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.scale_parameters import OrchestrationParameters

if TYPE_CHECKING:
    import dagster as dg
    from celery import Celery

QUEUE = "dagster"
_SWEEP_SECONDS = 10


def executor(orchestration: OrchestrationParameters) -> dg.ExecutorDefinition:
    """Dagster's executor that sends each step to a worker.

    Raises:
        InvalidSettingError: the extra ``scale`` is not installed, or no broker is named.
    """
    addresses = _addresses(orchestration)
    try:
        from dagster_celery import celery_executor
    except ImportError as failure:
        raise _missing(failure) from None
    return celery_executor.configured(
        {**addresses, "config_source": celery_settings(orchestration)}
    )


def worker_app(orchestration: OrchestrationParameters) -> Celery:
    """The Celery application that workers run: ``celery -A resources.celery_worker worker``.

    Raises:
        InvalidSettingError: as ``executor``.
    """
    addresses = _addresses(orchestration)
    try:
        from dagster_celery.executor import CeleryExecutor
        from dagster_celery.make_app import make_app
        from dagster_celery.tasks import create_task
    except ImportError as failure:
        raise _missing(failure) from None
    settings = celery_settings(orchestration)
    app = make_app(CeleryExecutor.for_cli(**addresses, config_source=settings).app_args())
    create_task(app)
    return app


def celery_settings(orchestration: OrchestrationParameters) -> dict[str, Any]:
    """Celery's own settings, by its names, the same for the executor and the workers."""
    redelivery = orchestration.celery_redelivery_seconds
    transport = {
        "visibility_timeout": redelivery,
        "unacked_restore_interval": min(_SWEEP_SECONDS, redelivery),
        "unacked_restore_throttle": 1,
    }
    return {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": transport,
        "result_backend_transport_options": transport,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
    }


def _addresses(orchestration: OrchestrationParameters) -> dict[str, str]:
    broker = orchestration.celery_broker
    if not broker:
        raise InvalidSettingError(
            "orchestration.executor is 'celery' and orchestration.celery_broker is empty: name a "
            "Redis, such as redis://host:6379/1"
        )
    return {"broker": broker, "backend": orchestration.celery_backend or broker}


def _missing(failure: ImportError) -> InvalidSettingError:
    return InvalidSettingError(
        f"orchestration.executor is 'celery' and its package is not installed ({failure}): "
        "pip install 'pricing-assets[scale]'"
    )
