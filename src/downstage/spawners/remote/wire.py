"""Records of spawners as objects of a frame, and back. Pure.

Secrets are among them: they travel in the stream, and are written down nowhere on the way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr, TypeAdapter, ValidationError

from downstage.kernel.errors import PlatformError, SetupError, Unavailable
from downstage.spawners.container.images import PullFailed
from downstage.spawners.exec import CannotExec, Exec
from downstage.spawners.plan import Report
from downstage.spawners.spawner import Adoption, InstanceSpec, NodeUnreachable, SpawnFailed

__all__ = [
    "HalfSettings",
    "error_of",
    "fault_of",
    "packed",
    "report_of",
    "unpacked",
]

KNOWN: tuple[type[PlatformError], ...] = (
    *(NodeUnreachable, PullFailed, SpawnFailed, CannotExec, SetupError, Unavailable),
)
BY_CODE = {kind.code: kind for kind in KNOWN}
MAX_DETAIL = 2000
Record = TypeVar("Record")


@dataclasses.dataclass(frozen=True, slots=True)
class HalfSettings:
    """What the manager tells its half on a node, once, when the stream is open."""

    folder: Path
    """Of what runs there; the same inside and outside of the node container."""
    user_ports: tuple[int, int]
    host: str
    """Where published ports are reached."""
    pull_deadline_s: float
    audio: bool
    encoder: str
    bitrate_kbps: int
    udp_ports: tuple[int, int] | None
    attach_deadline_s: float
    stop_grace_s: float
    keep_s: float
    keep_bytes: int


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def packed(record: InstanceSpec | Adoption | Exec | HalfSettings) -> dict[str, Any]:
    """*record* as an object, its secrets in clear."""
    found: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json")
    for item in dataclasses.fields(record):
        value: object = getattr(record, item.name)
        if isinstance(value, SecretStr):
            found[item.name] = value.get_secret_value()
    return found


def unpacked(kind: type[Record], found: object) -> Record:
    """The record that `packed` made an object of.

    Raises:
        SpawnFailed: it is none; the other end is broken.
    """
    try:
        return _adapter(kind).validate_python(found)
    except ValidationError as error:
        where = ", ".join(str(item["loc"]) for item in error.errors()[:3])  # never the values
        raise SpawnFailed(f"What the manager asks for is no {kind.__name__}: {where}.") from None


def report_of(found: Mapping[str, Any]) -> Report:
    """A report that came; what a newer half says besides is passed over."""
    known = {item.name for item in dataclasses.fields(Report)}
    return Report(**{key: value for key, value in found.items() if key in known})


def error_of(error: PlatformError) -> dict[str, Any]:
    """An error as it travels."""
    return {"code": error.code, "detail": error.detail[:MAX_DETAIL]}


def fault_of(found: Mapping[str, Any]) -> PlatformError:
    """The error that came; one of a kind that spawners do not raise is a `SpawnFailed`."""
    kind = BY_CODE.get(str(found.get("code")), SpawnFailed)
    return kind(str(found.get("detail") or "The node failed without a word."))
