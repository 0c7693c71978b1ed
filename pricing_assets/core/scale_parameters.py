"""Parameters of work beyond one process: Dagster's executor, catalogue shards and Spark.

Belongs here: where steps and shards go, never what they compute.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pricing_assets.core.parameters import Parameters


class OrchestrationParameters(Parameters):
    """How Dagster executes the steps of a run, and where catalogue shards lie."""

    executor: Literal["in_process", "multiprocess", "celery"] = Field(
        "in_process",
        description="A process for each step costs seconds a step: choose multiprocess for "
        "isolation, and celery to spread steps over machines (extra 'scale').",
    )
    max_concurrent: int = Field(
        2, ge=1, le=256, description="Steps at a time with the multiprocess executor."
    )
    celery_broker: str = Field(
        "",
        pattern=r"^((rediss?|redis\+socket)://.+)?$",
        description="Redis that carries steps to Celery workers, as redis://host:6379/1. Not the "
        "cache of the service, which forgets what is old: maxmemory-policy must be noeviction.",
    )
    celery_backend: str = Field(
        "",
        pattern=r"^((rediss?|redis\+socket)://.+)?$",
        description="Redis that carries results back; empty takes the broker.",
    )
    celery_redelivery_seconds: int = Field(
        14_400,
        ge=2,
        le=604_800,
        description="Seconds after which a step whose machine vanished goes to another worker; "
        "longer than the longest step, which would run twice at once otherwise.",
    )
    shards: str = Field(
        "",
        description="Folder or fsspec address (s3://bucket/folder) of catalogue shards and their "
        "prices; empty takes the folder shards of the home.",
    )


class SparkParameters(Parameters):
    """Apache Spark (extra 'spark')."""

    master: str = Field(
        "local[*]",
        pattern=r"^(local(\[(\*|\d+)\])?|(spark|k8s)://.+|yarn)$",
        description="Spark's master: local[N], spark://host:7077, k8s://https://host:443 or yarn.",
    )
    memory: str = Field(
        "2g", pattern=r"^\d+[mg]$", description="Memory of the driver and of each executor's JVM."
    )
    rows_per_partition: int = Field(
        250_000,
        ge=1_000,
        le=50_000_000,
        description="Rows priced at once by a task; about 3 KB of memory each.",
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="Further Spark properties, such as spark.executor.instances.",
    )
