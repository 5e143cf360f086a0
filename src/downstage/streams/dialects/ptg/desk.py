"""The dialect's documents as administrators see them: which there are, what each may hold.

Whatever is changed here is told to clients as if it had been changed by the dialect's own routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from downstage.kernel.errors import Forbidden, InvalidField, StoreFull, Unavailable
from downstage.kernel.logging import get_logger
from downstage.streams.dialects.ptg.events import (
    RECIPE_ID,
    RECIPE_STEP,
    RECIPES,
    SESSION_ID,
    SESSIONS,
    Events,
)
from downstage.streams.documents import Json
from downstage.streams.model import Caller, Right
from downstage.streams.revising import Page, Revising, Revision, Seen

__all__ = ["COLLECTIONS", "Collection", "Desk"]

ID = "_id"
STATE = (("recipe_id", RECIPE_ID, ""), ("step", RECIPE_STEP, "-1"), ("session_id", SESSION_ID, ""))
"""Fields of the state, the streams that tell of them, and what is told where one is absent."""
UNTOLD = "The change was stored, but clients could not be told of it: "
log = get_logger(__name__)


class _Shape(BaseModel):
    """Of what clients read; other fields are nobody's business."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Recipe(_Shape):
    name: str | None = None
    ingredients: list[str] | None = None
    tools: list[str] | None = None
    instructions: list[str] | None = None


class _Kept(_Shape):
    recipe: str | None = None
    step: int | None = None
    prefix: str | None = None
    created_at: str | None = None


class _State(_Shape):
    recipe_id: str | None = None
    step: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """One kind of documents."""

    name: str
    title: str
    shape: type[BaseModel]
    streams: tuple[str, ...]
    """What tells of it; who administers all of these administers it."""
    called: tuple[str, ...]
    """Fields that say what people call a document; the first that does counts."""
    only_id: str | None = None

    def name_of(self, body: Json) -> str:
        """What people call a document; empty where it does not say."""
        found = (body.get(field) for field in self.called)
        return next((value for value in found if isinstance(value, str) and value), "")


COLLECTIONS: Mapping[str, Collection] = MappingProxyType(
    {
        item.name: item
        for item in (
            Collection("recipes", "Recipes", _Recipe, (RECIPES,), ("name",)),
            Collection("sess", "Kept sessions", _Kept, (SESSIONS,), ("recipe", "prefix")),
            Collection(
                "session",
                "Cooking now",
                _State,
                (RECIPE_ID, RECIPE_STEP, SESSION_ID),
                ("recipe_id",),
                only_id="now",
            ),
        )
    }
)
"""All there are, by name."""


class Desk:
    """Where administrators sit.

    Args:
        revising: the documents.
        events: told of every change.
    """

    def __init__(self, revising: Revising, events: Events) -> None:
        self._revising = revising
        self._events = events

    async def collections(self, caller: Caller) -> list[tuple[Collection, int, int]]:
        """Those that *caller* administers, how many documents each has, and their bytes.

        Raises:
            Forbidden: they administer none.
        """
        mine = [item for item in COLLECTIONS.values() if _administers(caller, item)]
        if not mine:
            raise _refusal()
        counts = await self._revising.counts(caller.tenant)
        return [(item, *counts.get(item.name, (0, 0))) for item in mine]

    async def page(self, caller: Caller, name: str, *, text: str, after: int, limit: int) -> Page:
        """Documents that contain *text*; see `Revising.page`."""
        _check(caller, name)
        return await self._revising.page(caller.tenant, name, text=text, after=after, limit=limit)

    async def get(self, caller: Caller, name: str, id_: str) -> Revision | None:
        """One document."""
        _check(caller, name)
        return await self._revising.get(caller.tenant, name, id_)

    async def put(
        self, caller: Caller, name: str, id_: str, given: Json, *, seen: Seen
    ) -> tuple[Revision, bool]:
        """Write a document; answers it, and whether it is new.

        Raises:
            InvalidField: clients could not read it.
            VersionMismatch: what is there is not what was *seen*; nothing was written.
            StoreFull, Unavailable: it was written, and clients could not be told.
        """
        collection = _check(caller, name)
        body = _fit(collection, id_, given)
        made, before = await self._revising.put(caller.tenant, name, id_, body, seen=seen)
        what = "new" if before is None else "update"
        log.info("documents.written", collection=name, id=id_, what=what, by=caller.name)
        await self._tell(caller, collection, what, before, made)
        return made, before is None

    async def remove(self, caller: Caller, name: str, id_: str, *, seen: Seen) -> None:
        """Take a document out.

        Raises:
            NotFound: there is none. VersionMismatch: it is not what was *seen*.
            StoreFull, Unavailable: it is gone, and clients could not be told.
        """
        collection = _check(caller, name)
        gone = await self._revising.remove(caller.tenant, name, id_, seen=seen)
        log.info("documents.removed", collection=name, id=id_, by=caller.name)
        await self._tell(caller, collection, "delete", gone, None)

    async def _tell(
        self,
        caller: Caller,
        collection: Collection,
        what: str,
        before: Revision | None,
        after: Revision | None,
    ) -> None:
        try:
            if collection.only_id is not None:
                await self._tell_state(caller, _body(before), _body(after))
            elif (revision := after or before) is not None:
                data = None if after is None else _told(what, after)
                (stream,) = collection.streams
                await self._events.tell_change(caller, stream, what, revision.id, data)
        except StoreFull as error:
            raise StoreFull(UNTOLD + error.detail) from error
        except Unavailable as error:
            raise Unavailable(UNTOLD + error.detail, retry_after_s=error.retry_after_s) from error

    async def _tell_state(self, caller: Caller, before: Json, after: Json) -> None:
        said = [
            (stream, str(after.get(field) or absent))
            for field, stream, absent in STATE
            if before.get(field) != after.get(field)
        ]
        if said:
            await self._events.tell(caller, *said)


def _body(revision: Revision | None) -> Json:
    return {} if revision is None else revision.body


def _told(what: str, revision: Revision) -> dict[str, Any]:
    """A new document is told with its id, an updated one without, as the dialect does."""
    return {**revision.body, ID: revision.id} if what == "new" else revision.body


def _administers(caller: Caller, collection: Collection) -> bool:
    wanted = Right.READ | Right.WRITE | Right.ADMIN
    return all(caller.rights(stream) & wanted == wanted for stream in collection.streams)


def _check(caller: Caller, name: str) -> Collection:
    collection = COLLECTIONS[name]
    if not _administers(caller, collection):
        raise _refusal()
    return collection


def _refusal() -> Forbidden:
    return Forbidden("This needs the scope streams:admin.", scope="streams:admin")


def _fit(collection: Collection, id_: str, given: Json) -> Json:
    """*given* without its id, where clients can read it."""
    if collection.only_id not in (None, id_):
        raise InvalidField("id", f"The one document here is called {collection.only_id}.")
    if given.get(ID, id_) != id_:
        raise InvalidField(ID, "This is not the id in the address. Make a new document instead.")
    body = {key: value for key, value in given.items() if key != ID}
    try:
        collection.shape.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidField(field, f"{field}: {first['msg']}.") from error
    return body
