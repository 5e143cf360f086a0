"""What an extension's object is given before it starts: context, settings, facilities."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from pydantic import BaseModel

from downstage.services.context import ServiceContext
from downstage.services.extension import IExt

__all__ = ["equip", "settings_model"]


def equip(extension: IExt, context: ServiceContext) -> None:
    """Set `context`, `settings` and every attribute that is annotated with a facility's type.

    Raises:
        SetupError: a setting is not acceptable to the model that it is annotated with.
        Unavailable: a facility is not there.
    """
    extension.context = context
    model = settings_model(type(extension))
    extension.settings = (
        context.exts.model_of(context.name, model) if model else context.exts.of(context.name)
    )
    context.facilities.inject(extension)


def settings_model(kind: type[IExt]) -> type[BaseModel] | None:
    """The pydantic model that *kind* declares its settings to be, where it does."""
    for base in kind.__mro__:
        written: Any = inspect.get_annotations(base).get("settings")
        if isinstance(written, str):
            written = vars(sys.modules.get(base.__module__, sys)).get(written)
        if isinstance(written, type) and issubclass(written, BaseModel):
            return written
    return None
