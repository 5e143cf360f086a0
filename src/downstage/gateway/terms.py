"""What a session agreed with who asked for it: how long its leases last, and what leaving means.

Terms are the dialects' business, keeping them is the sessions': they stand in the session's
`extra` under ``terms``, and whatever is not said there is as the platform's settings say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from downstage.gateway.states import Policy

__all__ = ["KEY", "Terms"]

KEY = "terms"
"""Where they stand in the session's `extra`."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is special about one session."""

    ends_when_left: bool = False
    """A viewer who says farewell ends it, unless somebody else looks; else it waits."""
    patience_s: float | None = None
    """How long it waits while nobody looks; 0: for as long as it may live at all."""

    @classmethod
    def of(cls, extra: Mapping[str, Any]) -> Terms:
        """Those of a session."""
        found: dict[str, Any] = extra.get(KEY) or {}
        return cls(bool(found.get("ends_when_left")), found.get("patience_s"))

    def dump(self) -> dict[str, Any]:
        """As they stand in `extra`."""
        return {KEY: {"ends_when_left": self.ends_when_left, "patience_s": self.patience_s}}

    def policy(self, policy: Policy) -> Policy:
        """*policy* with what was agreed: no lease gets shorter but the one of who was cut off."""
        if self.patience_s is None:
            return policy
        patience = timedelta(seconds=self.patience_s) if self.patience_s else policy.maximum
        return replace(
            policy,
            connect=max(policy.connect, patience),
            resume=patience,
            idle=max(policy.idle, patience),
        )
