"""Small pictures of USD stages, drawn by the viewer's own code inside the walls of an application.

The service itself reads no USD: it starts the program that does, gives it a token bound to the
stage's folder, and keeps what it drew.

A picture shows what the stage refers to, too, as far as whoever had it drawn may read that. So it
is kept by the stage's place and content, and shown to those alone who may read all of its folder;
everybody else has pictures of their own.
"""

from __future__ import annotations

import os
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
import blake3

from downstage.content.edit import Edit
from downstage.content.model import Access, Caller, Entry
from downstage.content.service import Content
from downstage.content.tree import Inside
from downstage.contracts.identity import FileBound, InstanceTokenRequest
from downstage.kernel.errors import (
    DeadlineExceeded,
    Forbidden,
    NotFound,
    NotSupported,
    TooMany,
    Unavailable,
)
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError
from downstage.spawners.errand import Errand, ErrandFailed, Errands

__all__ = ["Pass", "PassOffice", "Thumbnails", "identity_office", "is_stage"]

SUFFIXES = (".usd", ".usda", ".usdc", ".usdz")
LARGEST_STAGE = 512 * 1024 * 1024
LARGEST_PICTURE = 1024 * 1024
DEADLINE_S = 45.0
PASS_S = 120
WAITING = 64
"""Pictures asked for at once; more are told to come back."""
MOST_OF_ONE = 16
"""The same of one person: a stage may take the whole deadline."""
WAIT_S = 180.0
"""How long one waits for its turn."""
FAILURES = 1024
RETRY_S = 600.0
"""A stage that could not be drawn is not tried again before this."""
PROGRAM = (sys.executable, "-P", "-m", "downstage.apps.usd_viewer.thumbnail")
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pass:
    """By what the program reaches the stage."""

    token: str
    end: Callable[[], Awaitable[None]]


PassOffice = Callable[[str, Caller, str], Awaitable[Pass]]
"""``office(id, caller, folder)``: a token bound to *folder*, by the rights of *caller*."""


@dataclass(slots=True)
class _Drawing:
    who: tuple[str, str]
    done: anyio.Event = field(default_factory=anyio.Event)
    error: NotFound | None = None


def is_stage(path: str) -> bool:
    """Whether *path* names a USD stage."""
    return path.lower().endswith(SUFFIXES)


class Thumbnails:
    """Draws and keeps pictures; see the module.

    Args:
        content: where stages are.
        office: gives passes.
        folder: where pictures are kept.
        public: address of the platform, which names it in addresses of stages.
        sockets: folder of the socket by which programs inside reach content.
        errands: runs the program.
    """

    def __init__(
        self,
        content: Content,
        office: PassOffice,
        folder: Path,
        *,
        public: str,
        sockets: str,
        errands: Errands | None = None,
    ) -> None:
        self._content = content
        self._office = office
        self._folder = folder
        self._host = urlsplit(public).netloc
        self._sockets = sockets
        self._errands = errands or Errands()
        self._one = anyio.CapacityLimiter(1)  # drawing takes a whole core
        self._drawings: dict[str, _Drawing] = {}
        self._failed: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def get(self, caller: Caller, path: str, checkpoint: int = 0) -> tuple[str, bytes]:
        """The picture of a stage, PNG, and a tag that changes with it.

        Raises:
            NotFound: no such stage, or it cannot be drawn; `detail` says why.
            NotSupported: pictures of this cannot be drawn, or not on this machine.
            TooMany: too many are being drawn.
        """
        refuse_bounded(caller)
        entry = await self._content.stat(caller, path, checkpoint=checkpoint)
        if entry.kind != "file" or not is_stage(path):
            raise NotSupported("Only USD stages have pictures.")
        key = await self._key(caller, entry)
        kept = await anyio.to_thread.run_sync(_read, self._file(key))
        if kept is not None:
            return key, kept
        if not can_draw():
            raise NotSupported("This machine draws no stages: pip install 'downstage[demo]'.")
        await self._draw_once(caller, entry, key)
        kept = await anyio.to_thread.run_sync(_read, self._file(key))
        if kept is None:
            raise NotFound("There is no picture of this stage.")
        return key, kept

    async def _key(self, caller: Caller, entry: Entry) -> str:
        """What a picture is kept by: see the module."""
        folder = _folder_of(entry)
        sees_all = await self._content.look_long(caller, lambda edit: _sees_all(edit, folder))
        who = "" if sees_all else caller.subject
        text = "\0".join((caller.tenant, who, str(entry.id), entry.path, entry.etag))
        return blake3.blake3(text.encode()).hexdigest()

    async def _draw_once(self, caller: Caller, entry: Entry, key: str) -> None:
        """Draw it, or wait for whoever draws it already."""
        self._refuse_failed(key)
        drawing = self._drawings.get(key)
        if drawing is not None:
            await drawing.done.wait()
            if drawing.error is not None:
                raise drawing.error
            return
        who = (caller.tenant, caller.subject)
        theirs = sum(one.who == who for one in self._drawings.values())
        if len(self._drawings) >= WAITING or theirs >= MOST_OF_ONE:
            raise TooMany("Many pictures are being drawn. Ask again in a moment.")
        drawing = self._drawings[key] = _Drawing(who)
        try:
            await self._draw_in_turn(caller, entry, key)
        except (ErrandFailed, DeadlineExceeded) as error:
            drawing.error = NotFound(f"This stage cannot be drawn: {error.detail}")
            self._note_failure(key, error.detail)
            raise drawing.error from error
        finally:
            del self._drawings[key]
            drawing.done.set()

    async def _draw_in_turn(self, caller: Caller, entry: Entry, key: str) -> None:
        try:
            with anyio.fail_after(WAIT_S):
                await self._one.acquire()
        except TimeoutError as error:
            raise TooMany("Many pictures are being drawn. Ask again in a moment.") from error
        try:
            await self._draw(caller, entry, key)
        finally:
            self._one.release()

    async def _draw(self, caller: Caller, entry: Entry, key: str) -> None:
        if entry.size > LARGEST_STAGE:
            raise ErrandFailed("it is too large")
        query = f"?&{entry.checkpoint}" if entry.checkpoint else ""
        address = f"omniverse://{self._host}{quote(entry.path)}{query}"
        name = new_id("i")
        given = await self._office(name, caller, _folder_of(entry))
        try:
            picture = await self._errands.run(
                Errand(
                    command=[*PROGRAM, address, "{out}"],
                    result="picture.png",
                    most_bytes=LARGEST_PICTURE,
                    deadline_s=DEADLINE_S,
                    token=given.token,
                    content_folder=self._sockets or None,
                    content_host=self._host,
                    environment={"LP_NUM_THREADS": "1"},
                )
            )
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await given.end()
        if not picture.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ErrandFailed("the result is no picture")
        await anyio.to_thread.run_sync(_keep, self._file(key), picture)
        log.info("thumbnail.drawn", size=entry.size)

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.png"

    def _refuse_failed(self, key: str) -> None:
        at, detail = self._failed.get(key, (0.0, ""))
        if detail and time.monotonic() - at < RETRY_S:
            raise NotFound(f"This stage cannot be drawn: {detail}")

    def _note_failure(self, key: str, detail: str) -> None:
        self._failed[key] = (time.monotonic(), detail)
        while len(self._failed) > FAILURES:
            self._failed.popitem(last=False)


def identity_office(identity: AsyncClient) -> PassOffice:
    """Passes that identity mints: *identity* carries the service's own token."""

    async def give(name: str, caller: Caller, folder: str) -> Pass:
        wanted = InstanceTokenRequest(
            instance_id=name,
            session_id=name,
            tenant=caller.tenant,
            ttl_s=PASS_S,
            owner=caller.subject,
            reach=[FileBound(path=folder)],
        )
        try:
            answer = await identity.v1.instance_tokens.post(wanted)
        except BaseServiceError as error:
            raise Unavailable("Identity does not answer just now.", retry_after_s=2) from error

        async def end() -> None:
            with suppress(BaseServiceError):  # it ends by itself within two minutes
                await identity.v1.instance_tokens[name].delete()

        return Pass(str(answer["token"]), end)

    return give


def _folder_of(entry: Entry) -> str:
    return entry.path.rpartition("/")[0] or "/"


def _sees_all(edit: Edit, folder: str) -> bool:
    """Whether the caller may read *folder* and everything in it."""
    try:
        trail = edit.find(folder, Access.READ)
    except NotFound:
        return False
    except Inside:  # what lies in a mount has no rights of its own
        return True
    return not edit.restricted_below(trail, Access.READ)


def can_draw() -> bool:
    """Whether the libraries that draw are installed."""
    return find_spec("pxr") is not None and find_spec("vtkmodules") is not None


def refuse_bounded(caller: Caller) -> None:
    """A token with bounds gets no pass that reaches further.

    Raises:
        Forbidden: it has bounds.
    """
    if caller.reach is not None:
        raise Forbidden("A token of an instance asks for no pictures.")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _keep(path: Path, picture: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(picture)
    draft.replace(path)
