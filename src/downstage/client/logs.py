"""Messages of the client: to the callback that was set, else to Python's ``logging``.

Nothing that looks like a secret leaves: what is said goes through the platform's own masks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from downstage.client.types import LogLevel

__all__ = [
    "get_log_level",
    "log",
    "log_error",
    "set_log_callback",
    "set_log_level",
]

LogCallback = Callable[[str, str, LogLevel, str], None]
COMPONENT = "downstage.client"
_PYTHON_LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.VERBOSE: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}
_NAMES = {
    LogLevel.DEBUG: "Debug",
    LogLevel.VERBOSE: "Verbose",
    LogLevel.INFO: "Info",
    LogLevel.WARNING: "Warning",
    LogLevel.ERROR: "Error",
}


class _State:
    level = LogLevel.WARNING
    callback: LogCallback | None = None


def set_log_level(level: LogLevel) -> None:
    """Say what matters at least as much as *level*; at first WARNING."""
    _State.level = LogLevel(level)


def get_log_level(level: LogLevel | None = None) -> str:
    """The name of *level* for eyes; without an argument, of the level in force."""
    return _NAMES[LogLevel(_State.level if level is None else level)]


def set_log_callback(callback: LogCallback | None) -> None:
    """Hand messages to *callback* as ``(thread, component, level, message)``; None: to logging.

    It is called on the thread that has something to say, and must not call the client.
    """
    _State.callback = callback


def log(level: LogLevel, event: str, **facts: object) -> None:
    """Say that *event* (``area.past_tense``) happened."""
    if level < _State.level:
        return
    message = _rendered(event, facts)
    callback = _State.callback
    if callback is not None:
        try:
            callback(threading.current_thread().name, COMPONENT, level, message)
        except Exception as error:  # noqa: BLE001 - somebody's callback, in the midst of our work
            message = f"{message} (the log callback failed: {type(error).__name__})"
        else:
            return
    logging.getLogger(COMPONENT).log(_PYTHON_LEVELS[level], "%s", message)


def log_error(event: str, error: BaseException, **facts: object) -> None:
    """Say that *event* happened because of *error*."""
    log(LogLevel.ERROR, event, error=f"{type(error).__name__}: {error}", **facts)


def _rendered(event: str, facts: dict[str, object]) -> str:
    # The masks load a settings library, which nobody needs who hears nothing.
    from downstage.kernel.logging import redact

    clean = redact(None, "", dict(facts))
    return " ".join([event, *(f"{key}={value}" for key, value in clean.items())])
