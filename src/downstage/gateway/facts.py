"""What becomes known of a session beside its life."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from downstage.gateway.models import Session

__all__ = ["NOTHING_NEW", "Facts"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What became known; None: nothing new."""

    application: str | None = None
    width: int | None = None
    height: int | None = None
    encoder: str | None = None
    warning: str | None = None
    region: str | None = None
    ports: tuple[dict[str, Any], ...] | None = None
    """As they were published."""
    extra: dict[str, Any] | None = None
    """What its dialect must remember from now on, beside what it remembers."""
    order: dict[str, Any] | None = None
    """What it waits in the queue for, with `queued_at`."""
    queued_at: datetime | None = None

    def put(self, session: Session) -> Session:
        """*session* with what is known."""
        display = session.display.model_copy(
            update={
                "width": self.width or session.display.width,
                "height": self.height or session.display.height,
            }
        )
        warnings = session.warnings
        if self.warning and self.warning not in warnings:
            warnings = (*warnings, self.warning)
        return replace(
            session,
            application=self.application or session.application,
            region=self.region or session.region,
            display=display,
            encoder=self.encoder or session.encoder,
            warnings=warnings,
            ports=session.ports if self.ports is None else self.ports,
            extra={**session.extra, **(self.extra or {})},
            order=self.order or session.order,
            queued_at=self.queued_at or session.queued_at,
        )


NOTHING_NEW = Facts()
