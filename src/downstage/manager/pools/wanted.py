"""The pools that declared applications ask for."""

from __future__ import annotations

from downstage.manager.applications import Catalogue
from downstage.manager.catalogue.service import Pool

__all__ = ["declared_pools"]


def declared_pools(catalogue: Catalogue) -> list[Pool]:
    """Those of every profile of every application that can run here."""
    return [
        Pool(name, application.number, profile_name, profile.pool.size, profile.pool.ttl_s)
        for name, application in sorted(catalogue.applications.items())
        if application.unavailable is None
        for profile_name, profile in application.declared.all_profiles.items()
        if profile.pool.size
    ]
