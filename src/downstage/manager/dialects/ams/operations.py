"""Operations: work that goes on after its request was answered, to be followed and cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse

from downstage.auth.principal import Principal
from downstage.kernel.errors import Conflict, NotFound, PlatformError, TooMany
from downstage.kernel.logging import get_logger
from downstage.manager.dialects.ams.envelope import BASE, prefix_of
from downstage.manager.dialects.ams.events import EventHub
from downstage.manager.dialects.ams.words import OPERATION

__all__ = ["Operation", "Operations", "accepted"]

Status = Literal["created", "running", "cancelling", "success", "failure", "cancelled"]
SECRETS = "fds"
"""Key of an operation's metadata: what opens its sockets."""
OVER: frozenset[Status] = frozenset({"success", "failure", "cancelled"})
MOST = 1000
KEPT_S = 300.0
"""How long one that is over can still be asked for."""
log = get_logger(__name__)

Work = Callable[["Operation"], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Operation:
    """One piece of work."""

    tenant: str
    by: str
    description: str
    resources: Mapping[str, list[str]]
    """Kind → paths below the prefix."""
    kind: Literal["task", "websocket"] = "task"
    id: str = field(default_factory=lambda: str(uuid4()))
    status: Status = "created"
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    error: str = ""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    over_at: float = 0.0
    done: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def view(self, prefix: str = BASE, *, secrets: bool = False) -> dict[str, Any]:
        """As callers see it; *secrets* of its sockets are for who began it, in the answer alone."""
        metadata = {key: item for key, item in self.metadata.items() if secrets or key != SECRETS}
        return {
            "id": self.id,
            "class": self.kind,
            "description": self.description,
            "created_at": self.created_at.isoformat(timespec="milliseconds"),
            "updated_at": self.updated_at.isoformat(timespec="milliseconds"),
            "status": self.status,
            "status_code": OPERATION[self.status],
            "resources": {
                kind: [prefix + path for path in paths] for kind, paths in self.resources.items()
            },
            "metadata": metadata,
            "may_cancel": self.status not in OVER,
            "err": self.error,
        }


class Operations:
    """All of this manager.

    Args:
        events: where their changes are told.
        start: starts a supervised task, as the service context does.
    """

    def __init__(self, events: EventHub, start: Callable[..., None]) -> None:
        self._events, self._start = events, start
        self._all: dict[str, Operation] = {}

    def begin(self, operation: Operation, work: Work) -> Operation:
        """Go on with *work* beside everything else.

        Raises:
            TooMany: as many run as may.
        """
        self._forget_old()
        if len(self._all) >= MOST:
            raise TooMany(f"{MOST} operations run already. Wait for some of them.", retry_after_s=5)
        self._all[operation.id] = operation
        self._become(operation, "running")
        self._start(self._run, operation, work, name=f"operation.{operation.id}")
        return operation

    def list(self, caller: Principal) -> list[Operation]:
        """Those of the caller's tenant, oldest first."""
        self._forget_old()
        return [item for item in self._all.values() if item.tenant == caller.tenant]

    def get(self, operation_id: str, caller: Principal) -> Operation:
        """One of them.

        Raises:
            NotFound: there is none, or it is another tenant's.
        """
        found = self._all.get(operation_id)
        if found is None or found.tenant != caller.tenant:
            raise NotFound("There is no such operation.")
        return found

    def find(self, operation_id: str) -> Operation:
        """One of them, for who has its secret."""
        found = self._all.get(operation_id)
        if found is None:
            raise NotFound("There is no such operation.")
        return found

    def cancel(self, operation: Operation) -> None:
        """Stop it.

        Raises:
            Conflict: it is over.
        """
        if operation.status in OVER:
            raise Conflict("This operation is over.")
        self._become(operation, "cancelling")
        operation.scope.cancel()

    async def _run(self, operation: Operation, work: Work) -> None:
        if operation.status in OVER:
            return  # a supervisor starts tasks anew that failed; this one has ended
        try:
            with operation.scope:
                await work(operation)
            cancelled = operation.scope.cancelled_caught or operation.status == "cancelling"
            self._become(operation, "cancelled" if cancelled else "success")
        except PlatformError as error:
            operation.error = error.detail
            self._become(operation, "failure")
        except anyio.get_cancelled_exc_class():
            operation.error = "The manager was stopped."
            self._become(operation, "failure")
            raise
        except Exception:  # the edge: who follows it hears that it failed, the log has why
            operation.error = "An error of ours; the log has it."
            self._become(operation, "failure")
            log.exception("operation.failed", operation=operation.id)

    def _become(self, operation: Operation, status: Status) -> None:
        operation.status = status
        operation.updated_at = datetime.now(UTC)
        if status in OVER:
            operation.over_at = anyio.current_time()
            operation.done.set()
        self._events.tell("operation", operation.tenant, operation.view())

    def _forget_old(self) -> None:
        oldest = anyio.current_time() - KEPT_S
        for item in list(self._all.values()):
            is_many = len(self._all) >= MOST  # what is over keeps nobody from beginning anything
            if item.status in OVER and (is_many or item.over_at < oldest):
                del self._all[item.id]


def accepted(request: Request, operation: Operation) -> JSONResponse:
    """The answer that work was begun: 202 and where it is followed."""
    prefix = prefix_of(request)
    path = f"{prefix}/operations/{operation.id}"
    body = {
        "type": "async",
        "status": "Operation created",
        "status_code": OPERATION["created"],
        "operation": path,
        "metadata": operation.view(prefix, secrets=True),
    }
    return JSONResponse(body, 202, headers={"location": path})
