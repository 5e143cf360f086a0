"""The paths of a service as a tree of segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from downstage.services.description.operation import Match, Step

__all__ = ["AmbiguousPath", "Description"]


class AmbiguousPath(ValueError):
    """Two paths of the description fit; the text names both."""


class Description:
    """A service's OpenAPI document, resolved for calls. Immutable: share it."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Description:
        """Build the tree. What is out of form is left out, never an error; `servers` is ignored."""
        raise NotImplementedError

    def find(
        self, steps: Sequence[Step], verb: str | None, keywords: Mapping[str, Any]
    ) -> Match | None:
        """What a call along *steps* means; None where no path fits (the plain rule holds then).

        Each step: exact name, then the dash form, then a ``{parameter}`` verbatim. *keywords* that
        name the ``{parameter}`` next below become segments. Without *verb*: the one verb of the
        path, else POST.

        Raises:
            AmbiguousPath: names that differ in ``_`` and ``-`` alone, and none is exact.
        """
        raise NotImplementedError

    def children(self, steps: Sequence[Step]) -> list[str]:
        """Attribute names (dashes as ``_``) and verbs below *steps*, for `dir()`."""
        raise NotImplementedError
