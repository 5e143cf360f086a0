"""What can be set through this dialect while it serves; everything else is in the settings file."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from downstage.gateway.shares import DialectSettings
from downstage.kernel.errors import InvalidField

__all__ = ["Configuration", "Items"]

PREFIX = "anbox."
NAMES = {
    "session.idle_time_min": "idle_time_min",
    "share.expiry_min": "expiry_min",
    "share.limit": "share_limit",
}
DAY_MIN = 24 * 60


class Configuration(BaseModel):
    """The items, with what they are where nobody set them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    idle_time_min: int = Field(default=30, ge=0, le=366 * DAY_MIN)
    expiry_min: int = Field(default=12 * 60, ge=1, le=30 * DAY_MIN)
    share_limit: int = Field(default=5, ge=0, le=5)

    def told(self) -> dict[str, Any]:
        """By the names that clients use."""
        return {name: getattr(self, field) for name, field in NAMES.items()}


class Items:
    """Reads and sets them.

    Args:
        settings: where they are kept.
    """

    def __init__(self, settings: DialectSettings) -> None:
        self._settings = settings

    async def all(self) -> Configuration:
        """As they are now."""
        known = await self._settings.all()
        return Configuration(
            **{
                field: known[PREFIX + name]
                for name, field in NAMES.items()
                if PREFIX + name in known
            }
        )

    async def put(self, name: str, value: Any) -> Configuration:
        """Set one.

        Raises:
            InvalidField: there is none of that name, or the value does not fit.
        """
        field = NAMES.get(name)
        if field is None:
            names = ", ".join(NAMES)
            raise InvalidField("name", f"name: {name[:64]} cannot be set here; known: {names}.")
        try:
            Configuration(**{field: value})
        except ValidationError as error:
            raise InvalidField("value", f"value: {error.errors()[0]['msg']}.") from error
        await self._settings.put(PREFIX + name, value)
        return await self.all()
