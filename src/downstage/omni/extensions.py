"""What `omni.ext` has beside its class."""

from __future__ import annotations

from downstage.services.extensions.manifest import split_id

__all__ = ["get_extension_name"]


def get_extension_name(ext_id: str) -> str:
    """The name in an extension's id ``name-version``; a tag, where there is one, stays with it."""
    return split_id(ext_id)[0]
