"""Instances as this dialect shows them."""

from __future__ import annotations

from typing import Any

from downstage.auth.principal import Principal
from downstage.contracts.manager import InstanceView
from downstage.kernel.errors import NotFound
from downstage.manager.dialects.ams.parts import Parts
from downstage.manager.dialects.ams.store import Note
from downstage.manager.dialects.ams.words import instance_word, instance_words

__all__ = ["Found"]

MEBIBYTE = 1 << 20


class Found:
    """Finds instances as this dialect shows them.

    Args:
        parts: of the dialect.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def all(self, caller: Principal) -> list[dict[str, Any]]:
        """Those of the caller's tenant; what was deleted, or ended in peace, is gone."""
        notes = await self._parts.store.notes()
        names = {item.name: item.id for item in await self._parts.applications.list()}
        return [
            self._view(item, notes.get(item.id, Note({})), names)
            for item in await self._parts.instances.list()
            if item.tenant == caller.tenant and _is_shown(item, notes.get(item.id, Note({})))
        ]

    async def one(self, key: str, caller: Principal) -> dict[str, Any]:
        """One, by id or name."""
        view = await self.view(key, caller)
        notes = await self._parts.store.notes()
        names = {item.name: item.id for item in await self._parts.applications.list()}
        return self._view(view, notes.get(view.id, Note({})), names)

    async def view(self, key: str, caller: Principal) -> InstanceView:
        """One, as the manager shows it.

        Raises:
            NotFound: there is none of that id or name, or it is another tenant's.
        """
        notes = await self._parts.store.notes()
        for item in await self._parts.instances.list():
            if item.tenant != caller.tenant or key not in (item.id, item.name, f"ams-{item.id}"):
                continue
            if not notes.get(item.id, Note({})).deleted:
                return item
        raise NotFound("There is no such instance.")

    def _view(self, item: InstanceView, note: Note, names: dict[str, str]) -> dict[str, Any]:
        needs = item.needs
        return {
            "id": item.id,
            "name": item.name or f"ams-{item.id}",
            "type": "container",
            **instance_words(item),
            "node": item.node,
            "app_id": names.get(item.application, item.application),
            "app_name": item.application,
            "app_version": item.version or 1,
            "image_id": "",
            "image_version": 0,
            "address": "",
            "public_address": "",
            "architecture": "x86_64",
            "created_at": int(item.created_at.timestamp()),
            "stored_logs": [],
            "tags": item.tags,
            "services": [
                {"name": port.name, "port": port.number, "node_port": port.published}
                for port in item.ports
            ],
            "resources": {
                "cpus": needs.cpus or 0,
                "memory": (needs.memory_mb or 0) * MEBIBYTE,
                "disk-size": (needs.disk_mb or 0) * MEBIBYTE,
                "gpu-slots": needs.gpu_slots,
            },
            "config": note.config,
            "entitlements": [],
        }


def _is_shown(item: InstanceView, note: Note) -> bool:
    if note.deleted or item.pool is not None:
        return False
    return item.state != "ended" or note != Note({}) or instance_word(item) == "error"
