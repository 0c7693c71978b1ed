"""The lineage of one model version, as it is kept beside the reports.

Belongs here: its fields, its file's name, and reading the records of a home.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pricing_assets.core.errors import IntegrityError

FOLDER = "lineage"


class LineageRecord(BaseModel):
    """Data, features, model and curves of one model version, each by its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    data_version: str = Field(description="Hash over the checked raw tables.")
    partitions: dict[str, dict[str, str]] = Field(
        description="Raw table -> its months (or 'all') -> hash of their rows."
    )
    features_version: str = Field(description="Hash of the panel.")
    model_name: str = Field(description="Registered model.")
    model_version: str = Field(description="Its version in the registry.")
    model_alias: str = Field(description="What it was registered as: champion or challenger.")
    model_sha256: str = Field(description="Hash over the manifest of the model's files.")
    curves_version: str = Field(description="Hash of the demand curves.")
    mlflow_run_id: str = Field(description="MLflow run that registered it.")
    dagster_run_id: str = Field(description="Dagster run that made it.")

    def versions(self) -> dict[str, str]:
        """Every version by name, for tags and pages."""
        names = (
            "data_version",
            "features_version",
            "model_version",
            "curves_version",
            "mlflow_run_id",
            "dagster_run_id",
        )
        return {name: str(getattr(self, name)) for name in names}


def record_name(model_version: str) -> str:
    """File of a model version's record, under the folder of reports."""
    return f"{FOLDER}/model-{model_version}.json"


def lineage_records(reports: Path) -> list[LineageRecord]:
    """Every record of a home, in order of the model's version; [] where there is none.

    Raises:
        IntegrityError: a record cannot be read.
    """
    found = [_read(path) for path in (reports / FOLDER).glob("model-*.json")]
    return sorted(found, key=lambda record: (len(record.model_version), record.model_version))


def lineage_of(reports: Path, *, model_version: str) -> LineageRecord | None:
    """The record of one model version; None where none was kept."""
    path = reports / record_name(model_version)
    return _read(path) if path.is_file() else None


def _read(path: Path) -> LineageRecord:
    try:
        return LineageRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as failure:
        reason = str(failure).splitlines()[0]
        raise IntegrityError(f"the lineage record {path} cannot be read: {reason}") from None
