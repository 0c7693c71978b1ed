"""What ``celery -A resources.celery_worker worker`` runs; see docs/scale.md.

A process of its own, started with the environment of its home (``PRICING_CONFIG``,
``DAGSTER_HOME``), which is why the settings are read here at import. Nothing imports this module.
"""

from __future__ import annotations

from resources.celery_steps import worker_app
from serving.home import load_settings

app = worker_app(load_settings().orchestration)
