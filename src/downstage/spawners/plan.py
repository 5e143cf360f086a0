"""What a keeper is told, and what it tells: two records, written as JSON.

`Plan` lies in the instance's folder as ``plan.json`` before the keeper starts; `Report` is
what the keeper says on its control socket at every change, and leaves in ``report.json``, so
that a manager that comes later can judge a keeper that is gone.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

__all__ = [
    "CONTENT_SOCKET",
    "Hook",
    "HookStage",
    "Isolation",
    "Phase",
    "Plan",
    "Report",
    "Stage",
    "read_json",
    "record_of",
    "write_private",
]

CONTENT_SOCKET = "files.sock"

Isolation = Literal["drop", "userns", "container", "none"]
"""``drop``: bubblewrap as root, the application under another user id; ``userns``: bubblewrap
in a user namespace; ``container``: a container of an engine, under another user id;
``none``: plain processes."""

Phase = Literal["starting", "running", "ending", "ended"]
Stage = Literal["placed", "pulling", "display", "audio", "streamer", "application", "running"]

HookStage = Literal["pre-start", "post-start", "post-stop"]

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Hook:
    """A program that runs in the sandbox, without display, before or after the application."""

    stage: HookStage
    owner: str
    """The addon whose it is; empty: the application's own."""
    command: list[str]
    folder: str
    """Of the addon or the application: its working folder, read-only."""
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One instance as it is to be: programs, display, bounds."""

    instance_id: str
    display_kind: Literal["x11", "wayland"]
    streamer: list[str]
    """Argument vector; the path of ``streamer.json`` is appended."""
    streamer_environment: dict[str, str]
    application: list[str]
    environment: dict[str, str]
    application_folder: str | None = None
    """Where its ``application.toml`` lies: its working folder, read-only."""
    read_only: list[str] = field(default_factory=list[str])
    """Further folders the application may read."""
    python: list[str] = field(default_factory=list[str])
    """Folders of the Python environment, read-only."""
    waits: bool = False
    """It has no session yet: its streamer waits, and what a session brings comes later."""
    content_folder: str | None = None
    """Holds `CONTENT_SOCKET`, the way to files; the folder, since a restart makes a new socket."""
    content_host: str | None = None
    """What addresses of such files call that service."""
    isolation: Isolation = "none"
    uid: int = 1000
    gid: int = 1000
    has_size: bool = True
    """Whether this bubblewrap can bound a tmpfs."""
    network: bool = False
    ports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Ports that need no publishing, since the application shares this machine's network."""
    gpu: bool = False
    audio: bool = True
    memory_mb: int | None = None
    screen: tuple[int, int] = (4096, 2304)
    """Largest picture of an X11 display; RandR goes down from here."""
    start_deadline_s: float = 30.0
    attach_deadline_s: float = 10.0
    stop_grace_s: float = 2.0
    hooks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """`Hook` records, in the order in which they run."""
    facts: dict[str, str] = field(default_factory=dict[str, str])
    """Further variables of hooks."""

    @property
    def is_other_user(self) -> bool:
        """The application is not the keeper's user: what is to be its own must be handed over."""
        return self.isolation in ("drop", "container") and self.uid != os.getuid()


@dataclass(slots=True)
class Report:
    """One instance as it stands."""

    instance_id: str
    phase: Phase = "starting"
    stage: Stage = "placed"
    reason: str | None = None
    detail: str | None = None
    exit_code: int | None = None
    isolated: bool = True
    waits: bool = False
    """It runs for nobody yet."""
    display: str | None = None
    audio_reason: str | None = None
    streamer_restarts: int = 0
    last_hooks_s: float = 0.0
    """How long hooks after the application may take, all together: until then it may be ending."""
    pids: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Name → process id and its start time, which together never come again."""
    ports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Ports as they were published: the fields of `downstage.contracts.manager.PortRoute`."""


def write_private(path: Path, record: Plan | Report | dict[str, Any]) -> None:
    """Write *record* as JSON to *path*, mode 0600, all of it or nothing."""
    body = dataclasses.asdict(record) if not isinstance(record, dict) else record
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(body, file)
    draft.replace(path)


def read_json(path: Path, kind: type[Record]) -> Record:
    """The record that `write_private` wrote; keys of a newer version are passed over.

    Raises:
        OSError: there is none.
        ValueError: it is not what it should be.
    """
    try:
        return record_of(path.read_text(encoding="utf-8"), kind)
    except ValueError as error:
        msg = f"{path.name}: {error}"
        raise ValueError(msg) from error


def record_of(text: str | bytes, kind: type[Record]) -> Record:
    """The record that some JSON holds; keys of a newer version are passed over.

    Raises:
        ValueError: it is not what it should be.
    """
    raw: object = json.loads(text)
    if not isinstance(raw, dict):
        msg = "it holds no object"
        raise ValueError(msg)  # noqa: TRY004 - content, not a type
    items = cast("dict[str, Any]", raw)
    known = {item.name for item in dataclasses.fields(cast("Any", kind))}
    try:
        return kind(**{key: value for key, value in items.items() if key in known})
    except TypeError as error:
        raise ValueError(str(error)) from error
