"""The data of the pages, by address.

Belongs here: which route is answered by whom, and what its query must hold. How a page's question
becomes an answer is in ``playground_data``, ``table_api``,
``impact`` and ``health``.
"""

from __future__ import annotations

from collections.abc import Mapping

from serving.desk import Desk
from serving.health import HealthData
from serving.home import Home
from serving.impact import ImpactData
from serving.pages import DataRoute
from serving.playground_data import PlaygroundData
from serving.table_api import TableData


def page_routes(desk: Desk, home: Home) -> Mapping[str, DataRoute]:
    """The routes of every page over one worker's desk and home."""
    return {
        **PlaygroundData(desk, home).routes(),
        **TableData.of_home(desk, home).routes(),
        **ImpactData(desk, home).routes(),
        **HealthData(desk, home).routes(),
    }
