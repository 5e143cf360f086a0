"""Input from viewers: checked, limited, applied by the seat that may, let go when it leaves."""

from __future__ import annotations

from downstage.media.input.events import Event, parse
from downstage.media.input.injector import Injector
from downstage.media.input.limiter import InputLimiter
from downstage.media.input.seat import Hands, NotController, acts

__all__ = ["Event", "Hands", "Injector", "InputLimiter", "NotController", "acts", "parse"]
