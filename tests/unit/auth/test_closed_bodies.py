"""What callers send is closed: a field that nobody declared raises nobody's rights (A05)."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from pydantic import BaseModel, ValidationError

import downstage.contracts
from downstage.contracts.applications import ApplicationPatch, VersionPatch
from downstage.contracts.gateway import SessionCreate
from downstage.contracts.identity import UserPatch
from downstage.contracts.manager import InstanceCreate
from downstage.contracts.wire import Answer

pytestmark = pytest.mark.unit


def models() -> list[type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for module in pkgutil.iter_modules(downstage.contracts.__path__):
        loaded = importlib.import_module(f"downstage.contracts.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel:
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return list(found.values())


def test_A05_every_message_is_either_closed_or_an_answer() -> None:
    open_ones = [
        model.__qualname__
        for model in models()
        if model.model_config.get("extra") != "forbid" and not issubclass(model, Answer)
    ]
    assert open_ones == []


@pytest.mark.parametrize(
    "model", [ApplicationPatch, InstanceCreate, SessionCreate, UserPatch, VersionPatch]
)
@pytest.mark.parametrize("field", ["is_admin", "scopes", "tenant_id", "role", "__class__"])
def test_A05_extra_fields_are_refused(model: type[BaseModel], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate({field: "admin"})
    assert (field,) in [error["loc"] for error in refused.value.errors()]
