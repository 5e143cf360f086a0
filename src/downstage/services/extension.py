"""What an extension is: something that is started with its id and stopped."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from downstage.services.context import ServiceContext

__all__ = ["IExt"]


class IExt:
    """Base of every extension; built-in services are extensions like any other.

    `on_startup` may be sync or async and take the extension's id or nothing; `on_shutdown`
    is always called if a start was begun. Both run in one task of the extension's own, so that
    what is opened in the first may be closed in the second. A sync one holds up everybody while
    it works: what takes long should be async, or go to a thread.

    An attribute that is annotated with a facility's type is set before the start::

        class Extension(IExt):
            metrics: MetricsFacility

    and so is `settings`, as a pydantic model where it is annotated with one.
    """

    requires: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Of an extension that a package brings: name → version (``">=1.0"``), ``?`` at its end for
    one that may be absent. One in a folder says so in its manifest."""
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Of an extension that a package brings: its settings and their defaults."""

    context: ServiceContext
    """What the host gives a service: settings, bus, clock, application; set before the start."""
    settings: Any
    """Its settings, ``exts."name"``: an `ExtensionSettings`, or the model it is annotated with."""

    def on_startup(self, ext_id: str) -> object:
        """Called once when the extension is enabled."""
        del ext_id
        return None

    def on_shutdown(self) -> object:
        """Called once when it is disabled."""
        return None
