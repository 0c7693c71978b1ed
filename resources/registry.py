"""The model registry: a bundle becomes a version of ``pricing-demand``, and an alias points at it.

Belongs here: registering native files with their SHA-256, never a pickle. Which alias a version
earns is ``core.promotion``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.evaluation.model_card import CARD_FILE
from resources.tracking import TrackedRun

MODEL_NAME = "pricing-demand"
_FOLDER = "demand_model"
_CARD_CHARACTERS = 5000
"""MLflow's limit of a description."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version in the registry.

    Attributes:
        name: registered model.
        version: its version, a number as text.
        url: its page in ``make dev``.
    """

    name: str
    version: str
    url: str


def register_bundle(
    run: TrackedRun, bundle: ModelBundle, *, page: str, documents: ModelBundle | None = None
) -> RegisteredVersion:
    """Log the bundle's files and ``manifest.json`` with the run, and make a version of them.

    ``documents`` (card, features, preprocessing, metrics, plots) lie beside the model's files and
    are in the manifest; the card is the version's description too.
    """
    if documents is not None:
        bundle = ModelBundle({**documents.files, **bundle.files})
    manifest = json.dumps(bundle.manifest(), indent=1, sort_keys=True).encode()
    run.log_files({**bundle.files, "manifest.json": manifest}, folder=_FOLDER)
    client = run.client
    if not client.search_registered_models(f"name = '{MODEL_NAME}'"):
        client.create_registered_model(
            MODEL_NAME, description="Demand forecaster: native files and a manifest with SHA-256."
        )
    source = f"{client.get_run(run.run_id).info.artifact_uri}/{_FOLDER}"
    card = documents.text(CARD_FILE)[:_CARD_CHARACTERS] if documents is not None else None
    created = client.create_model_version(
        MODEL_NAME, source=source, run_id=run.run_id, description=card
    )
    version = str(created.version)
    return RegisteredVersion(
        MODEL_NAME, version, f"{page}/#/models/{MODEL_NAME}/versions/{version}"
    )


def point_alias(run: TrackedRun, version: RegisteredVersion, *, alias: str) -> None:
    """Point ``alias`` at the version; a champion is no longer the challenger."""
    run.client.set_registered_model_alias(version.name, alias, version.version)
    run.client.set_model_version_tag(version.name, version.version, "alias", alias)
