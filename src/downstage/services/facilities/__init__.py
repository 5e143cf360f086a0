"""Things that services share and the framework injects.

Names are loaded when they are first asked for: who counts requests must not wait for a database.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from downstage.auth.principal import Principal
    from downstage.services.facilities.apikey import ApiKeyHeader
    from downstage.services.facilities.database import Database, open_database
    from downstage.services.facilities.databases import DatabaseFacility
    from downstage.services.facilities.injection import (
        Facility,
        FacilityParts,
        FacilitySet,
        facilities_of,
        facility,
    )
    from downstage.services.facilities.metrics import MetricsFacility, MetricsHub
    from downstage.services.facilities.principal import principal_or_none, require
    from downstage.services.facilities.progress import ProgressFacility
    from downstage.services.facilities.scheduler import SchedulerFacility

__all__ = [
    "ApiKeyHeader",
    "Database",
    "DatabaseFacility",
    "Facility",
    "FacilityParts",
    "FacilitySet",
    "MetricsFacility",
    "MetricsHub",
    "Principal",
    "ProgressFacility",
    "SchedulerFacility",
    "facilities_of",
    "facility",
    "open_database",
    "principal_or_none",
    "require",
]

_HOMES = {
    "ApiKeyHeader": "apikey",
    "Database": "database",
    "DatabaseFacility": "databases",
    "Facility": "injection",
    "FacilityParts": "injection",
    "FacilitySet": "injection",
    "MetricsFacility": "metrics",
    "MetricsHub": "metrics",
    "Principal": "injection",
    "ProgressFacility": "progress",
    "SchedulerFacility": "scheduler",
    "facilities_of": "injection",
    "facility": "injection",
    "open_database": "database",
    "principal_or_none": "principal",
    "require": "principal",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(name) from None
    return getattr(import_module(f"{__name__}.{home}"), name)
