"""The lives of instances as events: created, scheduled, started, running, stopped, failed."""

from __future__ import annotations

from downstage.manager.dialects.ams.envelope import BASE
from downstage.manager.dialects.ams.events import EventHub
from downstage.manager.dialects.ams.words import instance_word
from downstage.manager.store import Record

__all__ = ["Lives"]

ACTIONS = {
    "prepared": ("instance-created", "instance-scheduled"),
    "started": ("instance-started",),
    "running": ("instance-running",),
    "stopped": ("instance-stopped",),
    "error": ("instance-failed",),
}


class Lives:
    """Listens to instances and tells what changed.

    Args:
        events: where it is told.
    """

    def __init__(self, events: EventHub) -> None:
        self._events = events
        self._words: dict[str, str] = {}

    def changed(self, record: Record) -> None:
        """A listener of instances."""
        view = record.view()
        if view.pool is not None:
            return
        word, before = instance_word(view), self._words.get(view.id)
        if word != before:
            self._words[view.id] = word
            for action in ACTIONS.get(word, ()):
                self._tell(action, view.id, record)
        if view.state == "ended":
            self._words.pop(view.id, None)
            self._tell("instance-removed", view.id, record)

    def _tell(self, action: str, instance_id: str, record: Record) -> None:
        self._events.tell(
            "lifecycle",
            record.fixed.tenant,
            {
                "action": action,
                "source": f"{BASE}/instances/{instance_id}",
                "context": {"node": record.node, "session_id": record.fixed.session_id},
            },
        )
