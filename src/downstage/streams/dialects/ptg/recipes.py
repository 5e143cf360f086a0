"""``/recipes``: what people cook, as documents with an id that round-trips."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from downstage.streams.dialects.ptg.answers import Json, listed
from downstage.streams.dialects.ptg.dialect import Dialect, SignedIn
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.dialects.ptg.events import RECIPES, Events
from downstage.streams.documents import MAX_ID, Document, Documents
from downstage.streams.model import Right

__all__ = ["Recipe", "recipe_routes"]

KIND = "recipes"
ID_BYTES = 12
"""Of an id of ours: 24 digits, as MongoDB's."""
Id = Annotated[str, Path(max_length=MAX_ID)]
Word = Annotated[str | None, Query(max_length=1024)]


class Recipe(BaseModel):
    """A recipe; fields that are not named here are kept as they are."""

    model_config = ConfigDict(extra="allow", populate_by_name=False)

    id_: str | None = Field(default=None, alias="_id", max_length=MAX_ID)
    name: str | None = None
    ingredients: list[str] | None = None
    tools: list[str] | None = None
    instructions: list[str] | None = None

    def fields(self, *, given: bool) -> dict[str, Any]:
        """All of it but the id; with *given*, only what was given and is not null."""
        found = self.model_dump(exclude={"id_"}, exclude_unset=given)
        return {key: value for key, value in found.items() if not given or value is not None}


def recipe_routes(door: Door, documents: Documents, events: Events) -> Dialect:
    """The routes."""
    dialect = Dialect(door, "recipes")
    _add_reading(dialect, documents, events)
    _add_changes(dialect, documents, events)
    return dialect


def shown(document: Document | None) -> dict[str, Any] | None:
    """A document as it is answered."""
    return None if document is None else {**document.body, "_id": document.id}


def _add_reading(dialect: Dialect, documents: Documents, events: Events) -> None:
    async def list_recipes(caller: SignedIn) -> Json:
        """All recipes."""
        events.may(caller, RECIPES, Right.READ)
        return await listed(await documents.all(caller.tenant, KIND), shown)

    async def find_recipe(
        caller: SignedIn, name: Word = None, id_: Annotated[str | None, Query(alias="_id")] = None
    ) -> Json:
        """The first recipe that is called so, or null."""
        events.may(caller, RECIPES, Right.READ)
        if id_ is not None:
            found = await documents.get(caller.tenant, KIND, id_)
            wrong_name = found is not None and name not in (None, found.body.get("name"))
            return Json(None if wrong_name else shown(found))
        wanted = {} if name is None else {"name": name}
        return Json(shown(await documents.find(caller.tenant, KIND, wanted)))

    async def get_recipe(recipe_id: Id, caller: SignedIn) -> Json:
        """One recipe, or null."""
        events.may(caller, RECIPES, Right.READ)
        return Json(shown(await documents.get(caller.tenant, KIND, recipe_id)))

    dialect.serve("GET", "/recipes", list_recipes)
    dialect.serve("GET", "/recipes/q", find_recipe)
    dialect.serve("GET", "/recipes/{recipe_id}", get_recipe)


def _add_changes(dialect: Dialect, documents: Documents, events: Events) -> None:
    async def add_recipe(body: Recipe, caller: SignedIn) -> Json:
        """Add a recipe; an id that is given is kept."""
        events.may(caller, RECIPES, Right.WRITE)
        id_ = body.id_ or secrets.token_hex(ID_BYTES)
        made = await documents.add(caller.tenant, KIND, id_, body.fields(given=False))
        await events.tell_change(caller, RECIPES, "new", id_, shown(made))
        return Json(shown(made))

    async def change_recipe(recipe_id: Id, body: Recipe, caller: SignedIn) -> Json:
        """Set fields of a recipe; false where there is none, or nothing was given."""
        events.may(caller, RECIPES, Right.WRITE)
        fields = body.fields(given=True)
        if not fields or not await documents.merge(caller.tenant, KIND, recipe_id, fields):
            return Json(content=False)
        await events.tell_change(caller, RECIPES, "update", recipe_id, fields)
        return Json(content=True)

    async def delete_recipe(recipe_id: Id, caller: SignedIn) -> Json:
        """Delete a recipe; false where there is none."""
        events.may(caller, RECIPES, Right.WRITE)
        if await documents.remove(caller.tenant, KIND, recipe_id) is None:
            return Json(content=False)
        await events.tell_change(caller, RECIPES, "delete", recipe_id)
        return Json(content=True)

    dialect.serve("POST", "/recipes", add_recipe, 400, 409, 413, 507)
    dialect.serve("PUT", "/recipes/{recipe_id}", change_recipe, 400, 413, 507)
    dialect.serve("DELETE", "/recipes/{recipe_id}", delete_recipe, 507)
