"""What an extension is given to work with: made when asked for, closed in reverse order.

A handler asks by type or by name, and is answered when the request comes::

    @router.post("/bake")
    async def bake(progress: Annotated[ProgressFacility, Depends(facility(ProgressFacility))]): ...
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast, overload

import anyio
from starlette.requests import HTTPConnection

from downstage.auth.principal import Principal
from downstage.kernel.clock import Clock, SystemClock
from downstage.kernel.errors import Conflict, Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.flights import OWNER_KEY

if TYPE_CHECKING:
    from downstage.services.facilities.metrics import MetricsHub
    from downstage.services.facilities.principal import Require

__all__ = [
    "OWNER",
    "ROUTE",
    "Facility",
    "FacilityParts",
    "FacilitySet",
    "facilities_of",
    "facility",
]

OWNER = OWNER_KEY
"""Key of a request's scope: id of the extension whose route answers it, None where it has none."""
ROUTE = "downstage.route"
"""Key of a request's scope: path of that route as it was declared, prefixes included."""
STOP_S = 5.0
"""How long one facility may take to stop."""
STANDARD = {
    "metrics": ("metrics", "MetricsFacility"),
    "database": ("databases", "DatabaseFacility"),
    "progress": ("progress", "ProgressFacility"),
    "scheduler": ("scheduler", "SchedulerFacility"),
}
"""Module and class of what is made at its first use; so no engine is imported unused."""

T = TypeVar("T")
log = get_logger(__name__)
_sets: dict[str, FacilitySet] = {}


@dataclass(frozen=True, slots=True)
class FacilityParts:
    """What facilities are made of; the host knows it, one set for each extension."""

    owner: str
    """Id of the extension."""
    clock: Clock = field(default_factory=SystemClock)
    data: Path | None = None
    """The extension's own folder."""
    databases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Settings ``dbs.<handle>``."""
    metrics: MetricsHub | None = None
    """The host's; without one the extension's metrics are its own affair."""
    start: Callable[..., None] | None = None
    """``start(function, *arguments, name=…)``: a supervised task that ends with the extension."""


class Facility:
    """Base of what a host injects; derive, and override what is needed."""

    facility_name: ClassVar[str] = ""
    """Name under which a set makes it by itself; "" needs `FacilitySet.register`."""

    @classmethod
    def make(cls, parts: FacilityParts) -> Self:
        """An instance for the extension that *parts* belong to; called at most once a set."""
        del parts
        return cls()

    def stop(self) -> object:
        """Give everything back; sync or async, called once, in reverse order of creation."""
        return None


class FacilitySet:
    """The facilities of one extension.

    Args:
        owner: id of the extension.
        clock, data, databases, metrics, start: see `FacilityParts`.
    """

    def __init__(
        self,
        owner: str,
        *,
        clock: Clock | None = None,
        data: Path | None = None,
        databases: Mapping[str, Mapping[str, Any]] | None = None,
        metrics: MetricsHub | None = None,
        start: Callable[..., None] | None = None,
    ) -> None:
        self.parts = FacilityParts(
            owner, clock or SystemClock(), data, databases or {}, metrics, start
        )
        self._held: dict[str, object] = {}
        self._closed = False
        _sets[owner] = self

    @property
    def owner(self) -> str:
        """Id of the extension."""
        return self.parts.owner

    def register(self, name: str, instance: object) -> None:
        """Make *instance* available as *name*; its ``stop()``, if any, is called at `close`.

        Raises:
            Conflict: the name is taken.
            Unavailable: the extension has stopped.
        """
        self._refuse_closed()
        if name in self._held:
            raise Conflict(f"{self.owner} has a facility named {name} already.", name=name)
        self._held[name] = instance

    def get(self, name: str) -> Any:
        """The facility of that name; a standard one is made at its first use.

        Raises:
            Unavailable: there is none.
        """
        self._refuse_closed()
        if name not in self._held and name in STANDARD:
            home, kind = STANDARD[name]
            module = import_module(f"downstage.services.facilities.{home}")
            self._make(getattr(module, kind))
        try:
            return self._held[name]
        except KeyError:
            raise Unavailable(f"{self.owner} has no facility named {name}.", name=name) from None

    def find(self, kind: type[T]) -> T:
        """The facility of that type, or of one derived from it; made where the type says how.

        Raises:
            Unavailable: there is none.
        """
        self._refuse_closed()
        for instance in self._held.values():
            if isinstance(instance, kind):
                return instance
        if issubclass(kind, Facility) and kind.facility_name:
            return cast("T", self._make(kind))
        raise Unavailable(f"{self.owner} has no facility of the type {kind.__name__}.")

    def inject(self, target: object) -> None:
        """Set the attributes that the class of *target* annotates with a facility's type.

        Raises:
            Unavailable: such a facility is neither registered nor made by itself.
        """
        for name, kind in _wanted(type(target)).items():
            if not hasattr(target, name):
                setattr(target, name, self.find(kind))

    def names(self) -> list[str]:
        """What there is so far, in order of creation."""
        return list(self._held)

    async def close(self) -> None:
        """Stop all in reverse order; an error is logged and keeps no other from its end."""
        self._closed = True
        if _sets.get(self.owner) is self:
            del _sets[self.owner]
        while self._held:
            name, instance = self._held.popitem()
            stop = getattr(instance, "stop", None)
            if not callable(stop):
                continue
            with anyio.move_on_after(STOP_S, shield=True) as scope:
                await self._stop(name, stop)
            if scope.cancelled_caught:
                log.error("facility.stop_timed_out", owner=self.owner, name=name, limit_s=STOP_S)

    async def _stop(self, name: str, stop: Callable[..., object]) -> None:
        try:
            result = stop()
            if inspect.isawaitable(result):
                await result
        except (Exception, SystemExit):  # somebody else's code: the others must still be stopped
            log.exception("facility.stop_failed", owner=self.owner, name=name)

    def _make(self, kind: type[Facility]) -> Facility:
        name = kind.facility_name
        if name in self._held:
            raise Unavailable(f"The facility {name} of {self.owner} is no {kind.__name__}.")
        made = self._held[name] = kind.make(self.parts)
        return made

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable(f"{self.owner} has stopped.", retry_after_s=1)


class _Dependency(Generic[T]):
    """Finds a facility when the request comes; FastAPI calls it."""

    def __init__(self, which: type[T] | str) -> None:
        self._which = which

    async def __call__(self, connection: HTTPConnection) -> T:
        """The facility of the extension whose route this is, else one that all share.

        Raises:
            Unavailable: there is none.
        """
        try:
            found = facilities_of(connection)
            if isinstance(self._which, str):
                return cast("T", found.get(self._which))
            return found.find(self._which)
        except Unavailable:
            for name, shared in _shared(connection).items():
                which = self._which
                if which == name or (isinstance(which, type) and isinstance(shared, which)):
                    return cast("T", shared)
            raise


@overload
def facility(which: type[Principal]) -> Require: ...
@overload
def facility(which: type[T]) -> Callable[[HTTPConnection], T]: ...
@overload
def facility(which: str) -> Callable[[HTTPConnection], Any]: ...


def facility(which: Any) -> Any:
    """A dependency that yields the facility of that type or name; absent is 503.

    `Principal` is the caller of the request: 401 where nobody has signed in.
    """
    if which is Principal:
        return import_module("downstage.services.facilities.principal").require()
    return _Dependency[Any](which)


def facilities_of(connection: HTTPConnection) -> FacilitySet:
    """The set of the extension whose route answers *connection*, else the application's.

    Raises:
        Unavailable: neither has one.
    """
    owner = connection.scope.get(OWNER)
    owned = _sets.get(owner) if owner else None
    if owned is not None:
        return owned
    found = getattr(connection.app.state, "facilities", None)
    if isinstance(found, FacilitySet):
        return found
    raise Unavailable("This application has no facilities.", retry_after_s=1)


def _shared(connection: HTTPConnection) -> dict[str, object]:
    """What `registry.register_facility` put on the application."""
    # Imported at the first use: the registry knows facilities, too.
    from downstage.services.book import book_of

    return book_of(connection.app).facilities


def _wanted(kind: type) -> dict[str, type]:
    """Attributes of *kind* and its bases that are annotated with a facility's type."""
    found = dict[str, type]()
    for base in reversed(kind.__mro__):
        names = vars(sys.modules.get(base.__module__, sys))
        for name, written in inspect.get_annotations(base).items():
            meant = names.get(written) if isinstance(written, str) else written
            if isinstance(meant, type) and issubclass(meant, Facility):
                found[name] = meant
    return found
