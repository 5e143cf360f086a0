"""``/sessions`` and ``/sess``: what is cooked just now, and sessions that are kept.

``/sessions`` is one state for all of a tenant, as clients expect; ``/sess`` has many.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, Field

from downstage.kernel.clock import Clock
from downstage.kernel.errors import AlreadyExists
from downstage.streams.dialects.ptg.answers import Json, listed
from downstage.streams.dialects.ptg.dialect import Dialect, SignedIn
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.dialects.ptg.events import (
    RECIPE_ID,
    RECIPE_STEP,
    SESSION_ID,
    SESSIONS,
    Events,
)
from downstage.streams.dialects.ptg.recipes import shown
from downstage.streams.documents import MAX_ID, Documents
from downstage.streams.model import Caller, Right

__all__ = ["session_routes"]

KIND = "sess"
STATE = "session"
NOW = "now"
"""Id of the one document that holds the state."""
RECIPES = "recipes"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
MOST_STEP = 2**31 - 1
TRIES = 64
Id = Annotated[str, Path(max_length=MAX_ID)]
Step = Annotated[int, Path(ge=-1, le=MOST_STEP)]


class Session(BaseModel):
    """A session that is kept."""

    id: str | None = Field(default=None, max_length=MAX_ID)
    recipe: str | None = Field(default=None, max_length=1024)
    step: int | None = Field(default=0, ge=-1, le=MOST_STEP)
    prefix: str | None = Field(default=None, max_length=1024)


def session_routes(door: Door, documents: Documents, events: Events, clock: Clock) -> Dialect:
    """The routes of both."""
    dialect = Dialect(door, "sessions")
    now = _Now(documents, events, clock)
    _add_state(dialect, now)
    _add_state_changes(dialect, now)
    kept = _Kept(documents, events, clock)
    _add_kept(dialect, kept)
    _add_kept_changes(dialect, kept)
    return dialect


class _Now:
    """What is cooked just now."""

    def __init__(self, documents: Documents, events: Events, clock: Clock) -> None:
        self._documents = documents
        self._events = events
        self._clock = clock

    async def state(self, caller: Caller) -> dict[str, Any]:
        self._events.may(caller, RECIPE_ID, Right.READ)
        found = await self._documents.get(caller.tenant, STATE, NOW)
        return {} if found is None else found.body

    async def recipe(self, caller: Caller) -> dict[str, Any] | None:
        id_ = (await self.state(caller)).get("recipe_id")
        if id_ is None:
            return None
        return shown(await self._documents.get(caller.tenant, RECIPES, id_))

    async def start(self, caller: Caller, recipe_id: str) -> list[object]:
        session_id = str(int(self._clock.now().timestamp()))
        said = ((RECIPE_ID, recipe_id), (RECIPE_STEP, "0"), (SESSION_ID, session_id))
        # Told first: a store that takes nothing leaves all as it was.
        ids = await self._events.tell(caller, *said)
        state = {"recipe_id": recipe_id, "step": "0", "session_id": session_id}
        await self._documents.put(caller.tenant, STATE, NOW, state)
        return [True, True, True, *ids]

    async def go_to(self, caller: Caller, step: int) -> list[object]:
        ids = await self._events.tell(caller, (RECIPE_STEP, str(step)))
        state = {"step": str(step)}
        if await self._documents.merge(caller.tenant, STATE, NOW, state) is None:
            await self._documents.put(caller.tenant, STATE, NOW, state)
        return [True, *ids, str(step)]

    async def stop(self, caller: Caller) -> list[object]:
        said = ((RECIPE_ID, ""), (RECIPE_STEP, "-1"), (SESSION_ID, ""))
        ids = await self._events.tell(caller, *said)
        gone = await self._documents.remove(caller.tenant, STATE, NOW)
        before = {} if gone is None else gone.body
        removed = [int(name in before) for name in ("recipe_id", "step", "session_id")]
        return [*removed, *ids]


def _add_state(dialect: Dialect, now: _Now) -> None:
    async def get_session(caller: SignedIn) -> Json:
        """What is cooked just now; null where nothing is."""
        state = await now.state(caller)
        return Json({name: state.get(name) for name in ("recipe_id", "step", "session_id")})

    async def get_session_id(caller: SignedIn) -> Json:
        """Id of the session, or null."""
        return Json((await now.state(caller)).get("session_id"))

    async def get_session_recipe(caller: SignedIn, info: bool = False) -> Json:
        """Id of the recipe, or with *info* the recipe itself, or null."""
        if info:
            return Json(await now.recipe(caller))
        return Json((await now.state(caller)).get("recipe_id"))

    async def get_step(caller: SignedIn) -> Json:
        """The step as text, or null."""
        return Json((await now.state(caller)).get("step"))

    dialect.serve("GET", "/sessions", get_session)
    dialect.serve("GET", "/sessions/id", get_session_id)
    dialect.serve("GET", "/sessions/recipe", get_session_recipe)
    dialect.serve("GET", "/sessions/recipe/step", get_step)


def _add_state_changes(dialect: Dialect, now: _Now) -> None:
    async def start_recipe(recipe_id: Id, caller: SignedIn) -> Json:
        """Begin a recipe: a new session, at step 0."""
        return Json(await now.start(caller, recipe_id))

    async def set_step(step: Step, caller: SignedIn) -> Json:
        """Go to a step."""
        return Json(await now.go_to(caller, step))

    async def stop_recipe(caller: SignedIn) -> Json:
        """End the recipe and the session."""
        return Json(await now.stop(caller))

    dialect.serve("PUT", "/sessions/recipe/{recipe_id}", start_recipe, 507)
    dialect.serve("PUT", "/sessions/recipe/step/{step}", set_step, 507)
    dialect.serve("DELETE", "/sessions/recipe", stop_recipe, 507)


class _Kept:
    """Sessions that are kept."""

    def __init__(self, documents: Documents, events: Events, clock: Clock) -> None:
        self.documents = documents
        self.events = events
        self._clock = clock

    def read(self, caller: Caller) -> None:
        self.events.may(caller, SESSIONS, Right.READ)

    def write(self, caller: Caller) -> None:
        self.events.may(caller, SESSIONS, Right.WRITE)

    async def add(self, caller: Caller, body: Session) -> dict[str, Any] | None:
        now = self._clock.now()
        fields: dict[str, Any] = body.model_dump(exclude={"id"})
        fields["created_at"] = now.astimezone().replace(tzinfo=None).isoformat()
        if body.id:
            return await self._add(caller, body.id, fields)
        seconds = int(now.timestamp())
        for more in range(TRIES):  # ids are seconds, and several may begin within one
            try:
                return await self._add(caller, base36(seconds + more), fields)
            except AlreadyExists:
                continue
        raise AlreadyExists("Too many sessions began just now. Give this one an id.")

    async def _add(self, caller: Caller, id_: str, fields: dict[str, Any]) -> dict[str, Any] | None:
        made = shown(await self.documents.add(caller.tenant, KIND, id_, fields))
        await self.events.tell_change(caller, SESSIONS, "new", id_, made)
        return made


def _add_kept(dialect: Dialect, kept: _Kept) -> None:
    async def list_sessions(caller: SignedIn) -> Json:
        """All sessions that are kept."""
        kept.read(caller)
        return await listed(await kept.documents.all(caller.tenant, KIND), shown)

    async def find_session(
        caller: SignedIn,
        recipe: Annotated[str | None, Query(max_length=1024)] = None,
        prefix: Annotated[str | None, Query(max_length=1024)] = None,
        step: int | None = None,
    ) -> Json:
        """The first session that is so, or null."""
        kept.read(caller)
        given = {"recipe": recipe, "prefix": prefix, "step": step}
        wanted = {name: value for name, value in given.items() if value is not None}
        return Json(shown(await kept.documents.find(caller.tenant, KIND, wanted)))

    async def get_kept(session_id: Id, caller: SignedIn) -> Json:
        """One session, or null."""
        kept.read(caller)
        return Json(shown(await kept.documents.get(caller.tenant, KIND, session_id)))

    dialect.serve("GET", "/sess", list_sessions)
    dialect.serve("GET", "/sess/q", find_session)
    dialect.serve("GET", "/sess/{session_id}", get_kept)


def _add_kept_changes(dialect: Dialect, kept: _Kept) -> None:
    async def add_session(body: Session, caller: SignedIn) -> Json:
        """Keep a session; without an id it gets the time, in base 36."""
        kept.write(caller)
        return Json(await kept.add(caller, body))

    async def change_session(session_id: Id, body: Session, caller: SignedIn) -> Json:
        """Set fields of a session; false where there is none, or nothing was given."""
        kept.write(caller)
        found = body.model_dump(exclude={"id"}, exclude_unset=True)
        fields = {name: value for name, value in found.items() if value is not None}
        merge = kept.documents.merge
        if not fields or not await merge(caller.tenant, KIND, session_id, fields):
            return Json(content=False)
        await kept.events.tell_change(caller, SESSIONS, "update", session_id, fields)
        return Json(content=True)

    async def delete_session(session_id: Id, caller: SignedIn) -> Json:
        """Delete a session; false where there is none."""
        kept.write(caller)
        if await kept.documents.remove(caller.tenant, KIND, session_id) is None:
            return Json(content=False)
        await kept.events.tell_change(caller, SESSIONS, "delete", session_id)
        return Json(content=True)

    dialect.serve("POST", "/sess", add_session, 400, 409, 413, 507)
    dialect.serve("PUT", "/sess/{session_id}", change_session, 400, 413, 507)
    dialect.serve("DELETE", "/sess/{session_id}", delete_session, 507)


def base36(number: int) -> str:
    """*number*, which is not negative, in base 36."""
    found = ""
    while number:
        number, rest = divmod(number, len(DIGITS))
        found = DIGITS[rest] + found
    return found or "0"
