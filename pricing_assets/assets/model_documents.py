"""The papers of a model version: what stands in its folder beside the model's own files.

Belongs here: the asset ``model_documents`` of the group ``registration``. What they say is
``core.evaluation.model_card``.
"""

from typing import Any

import dagster as dg

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.evaluation.model_card import CARD_FILE
from pricing_assets.core.evaluation.model_card import model_documents as documents_of


@dg.asset(
    group_name="registration",
    owners=["team:data-science"],
    kinds={"markdown"},
    code_version="1",
)
def model_documents(
    context: dg.AssetExecutionContext,
    demand_model: ModelBundle,
    evaluation_report: dict[str, Any],
    data_snapshot: dict[str, Any],
) -> ModelBundle:
    """Model card, feature list, preprocessing, metrics and plots, as files."""
    files = documents_of(demand_model, numbers=evaluation_report, snapshot=data_snapshot)
    documents = ModelBundle(files)
    card = dg.MetadataValue.md(documents.text(CARD_FILE))
    context.add_output_metadata({"card": card, "files": len(files)})
    return documents
