"""`carb.log_*` on our structured log."""

from __future__ import annotations

import inspect

from downstage.kernel.logging import get_logger

__all__ = ["log_error", "log_fatal", "log_info", "log_verbose", "log_warn"]

EVENT = "extension.logged"
log = get_logger("carb")


def log_verbose(message: object) -> None:
    """What helps to find a fault."""
    log.debug(EVENT, source=_caller(), text=str(message))


def log_info(message: object) -> None:
    """What is worth knowing."""
    log.info(EVENT, source=_caller(), text=str(message))


def log_warn(message: object) -> None:
    """What should not be so, and does not stop the work."""
    log.warning(EVENT, source=_caller(), text=str(message))


def log_error(message: object) -> None:
    """What went wrong."""
    log.error(EVENT, source=_caller(), text=str(message))


def log_fatal(message: object) -> None:
    """What ends the work; like the original it ends nothing by itself."""
    log.critical(EVENT, source=_caller(), text=str(message))


def _caller() -> str:
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    return str(frame.f_globals.get("__name__", "?")) if frame is not None else "?"
