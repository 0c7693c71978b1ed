"""Apache Spark's session from the settings (extra ``spark``).

Belongs here: the one place that starts Spark. What runs on it is ``resources.spark_shards``.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.scale_parameters import SparkParameters

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ARROW_BATCH_ROWS = 65_536
_PYTHON = "PYSPARK_PYTHON"
_LOOPBACK = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}


@contextmanager
def spark_session(parameters: SparkParameters) -> Iterator[SparkSession]:
    """A session while the block runs; ``parameters.options`` win over our own properties.

    Raises:
        InvalidSettingError: pyspark or Java is missing.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as failure:
        raise InvalidSettingError(
            f"pyspark is not installed ({failure}): pip install 'pricing-assets[spark]'"
        ) from None
    if not java_program():
        raise InvalidSettingError(
            "Spark needs Java 17 or newer: put java on PATH or set JAVA_HOME (on Debian and "
            "Ubuntu: apt-get install default-jre-headless)"
        )
    local = parameters.master.startswith("local")
    builder = SparkSession.builder.master(parameters.master).appName("pricing")
    for name, value in {**_properties(parameters, local=local), **parameters.options}.items():
        builder = builder.config(name, value)
    with _workers_python(sys.executable if local else None):
        session = builder.getOrCreate()
        try:
            yield session
        finally:
            session.stop()


def java_program() -> str | None:
    """The java that Spark would start; None where there is none."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def _properties(parameters: SparkParameters, *, local: bool) -> dict[str, str]:
    """Our own properties; a local Spark listens on loopback only."""
    common = {
        "spark.driver.memory": parameters.memory,
        "spark.executor.memory": parameters.memory,
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(_ARROW_BATCH_ROWS),
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    return common | _LOOPBACK if local else common


@contextmanager
def _workers_python(program: str | None) -> Iterator[None]:
    """The Python of Spark's workers while the block runs, unless PYSPARK_PYTHON names one.

    Spark reads it from the environment only, and would take the first python3 on PATH.
    """
    if program is None or _PYTHON in os.environ:
        yield
        return
    os.environ[_PYTHON] = program
    try:
        yield
    finally:
        del os.environ[_PYTHON]
