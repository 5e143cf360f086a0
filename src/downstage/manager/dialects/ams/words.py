"""The dialect's words and numbers for how things stand."""

from __future__ import annotations

from typing import Any

from downstage.contracts.applications import ApplicationStatus
from downstage.contracts.manager import InstanceView

__all__ = ["APPLICATION", "INSTANCE", "NODE", "OPERATION", "application_words", "instance_words"]

INSTANCE = {
    "error": -1,
    "unknown": 0,
    "created": 1,
    "prepared": 2,
    "started": 3,
    "running": 4,
    "stopped": 5,
    "deleted": 6,
}
APPLICATION = {"error": -1, "unknown": 0, "initializing": 1, "ready": 2, "deleted": 3}
NODE = {"error": -1, "unknown": 0, "created": 1, "online": 4, "offline": 5}
OPERATION = {
    "created": 100,
    "running": 103,
    "cancelling": 104,
    "success": 200,
    "failure": 400,
    "cancelled": 401,
}
CALM = frozenset({"stopped", "evicted", "node-drained"})
"""Reasons for an end that are nobody's fault."""


def instance_words(view: InstanceView) -> dict[str, Any]:
    """`status`, its number, and what a person reads of it."""
    word = instance_word(view)
    detail = view.detail or ""
    return {
        "status": word,
        "status_code": INSTANCE[word],
        "status_message": detail if word != "error" else "",
        "error_message": (detail or view.reason or "") if word == "error" else "",
    }


def instance_word(view: InstanceView) -> str:
    """One word for it."""
    match view.state:
        case "starting":
            return "prepared" if view.stage in ("placed", "pulling") else "started"
        case "running":
            return "running"
        case "ending":
            return "stopped" if view.reason in CALM else "error"
        case _:
            is_clean = view.reason == "application-exited" and view.exit_code == 0
            return "stopped" if view.reason in CALM or is_clean else "error"


def application_words(status: ApplicationStatus) -> dict[str, Any]:
    """`status` of an application or a version, and its number."""
    return {"status": status, "status_code": APPLICATION[status]}
