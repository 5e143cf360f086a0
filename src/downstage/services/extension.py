"""What an extension is: something that is started with its id and stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downstage.services.context import ServiceContext

__all__ = ["IExt"]


class IExt:
    """Base of every extension; built-in services are extensions like any other.

    `on_startup` may be sync or async and take the extension's id or nothing; `on_shutdown`
    is always called if a start was begun.
    """

    context: ServiceContext
    """What the host gives a service: settings, bus, clock, application; set before the start."""

    def on_startup(self, ext_id: str) -> object:
        """Called once when the extension is enabled."""
        del ext_id
        return None

    def on_shutdown(self) -> object:
        """Called once when it is disabled."""
        return None
