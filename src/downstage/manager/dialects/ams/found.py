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
        note = await self._parts.store.note_of(view.id)
        return self._view(view, note, {view.application: await self._id_of(view.application)})

    async def _id_of(self, application: str) -> str:
        try:
            return (await self._parts.applications.get(application)).id
        except NotFound:  # it was removed since
            return application

    async def view(self, key: str, caller: Principal) -> InstanceView:
        """One, as the manager shows it.

        Raises:
            NotFound: there is none of that id or name, or it is another tenant's.
        """
        found = await self._by_id(key.removeprefix("ams-"))
        for item in [found] if found is not None else await self._parts.instances.list():
            if item.tenant != caller.tenant or (found is None and key != item.name):
                continue
            if not (await self._parts.store.note_of(item.id)).deleted:
                return item
        raise NotFound("There is no such instance.")

    async def _by_id(self, instance_id: str) -> InstanceView | None:
        try:
            return await self._parts.instances.get(instance_id)
        except NotFound:
            return None

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
