"""What somebody asks for, and how that is kept while it waits in the queue."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any

from pydantic import SecretStr

from downstage.auth.seal import Sealer
from downstage.contracts.manager import Display
from downstage.gateway.models import Key, Session
from downstage.gateway.regions.score import Wish
from downstage.gateway.wishes import Wishes

__all__ = ["Order", "keep", "reopen"]


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks for."""

    tenant: str
    owner: str
    username: str
    application: str
    stage: str | None = None
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict[str, str])
    display: Display = field(default_factory=Display)
    where: Wish = field(default_factory=Wish)
    """In which region, or what to choose one by."""
    act: str | None = None
    """Subject of the person who asks, in whose name the instance is asked for."""
    access_token: SecretStr | None = None
    spec: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[str, ...] = ()
    key: Key | None = None
    version: int | None = None
    """Of the application; None: the newest that is published."""
    user_data: str | None = None
    """Handed to the application as a file."""
    wishes: Wishes = field(default_factory=Wishes)
    """What is wanted of the instance."""
    instance_id: str | None = None
    """What the instance shall be called, where somebody else has chosen that already."""
    wait: bool = False
    """Wait in the queue where nothing is free; False: `NoCapacity` at once."""
    priority: int = 0
    """Among those who wait: the higher one is served first."""
    dialect: str = "v1"
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    """What that dialect must remember, and its `downstage.gateway.terms`; never a secret."""

    def shape(self) -> str:
        """The same for orders that fit into the same places."""
        wishes = self.wishes.fields()
        counts = ("profile", "image", "node", "node_labels", "needs")
        facts = [self.application, self.version, *(wishes[name] for name in counts)]
        return blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()


def keep(order: Order, session_id: str, sealer: Sealer) -> dict[str, Any]:
    """*order* for the row of its session: what the queue goes by, the rest sealed.

    An environment or user data may hold anything, so all of it is sealed; the access token is
    sealed in a column of its own.
    """
    content = {
        "application": order.application,
        "stage": order.stage,
        "arguments": list(order.arguments),
        "environment": order.environment,
        "display": order.display.model_dump(mode="json"),
        "where": asdict(order.where),
        "act": order.act,
        "version": order.version,
        "user_data": order.user_data,
        "wishes": order.wishes.fields(),
    }
    return {
        "region": order.where.region,
        "shape": order.shape(),
        "sealed": sealer.seal(json.dumps(content), f"order:{session_id}"),
    }


def reopen(session: Session, sealer: Sealer) -> Order:
    """The order of a session that waits.

    Raises:
        SetupError: it was sealed with another key.
    """
    content = json.loads(sealer.open((session.order or {})["sealed"], f"order:{session.id}"))
    token = session.sealed_token
    opened = sealer.open(token, f"session:{session.id}") if token else None
    return Order(
        tenant=session.tenant,
        owner=session.owner,
        username=session.username,
        application=content["application"],
        stage=content["stage"],
        arguments=tuple(content["arguments"]),
        environment=content["environment"],
        display=Display.model_validate(content["display"]),
        where=Wish(**content["where"]),
        act=content["act"],
        access_token=SecretStr(opened) if opened else None,
        spec=session.spec,
        warnings=session.warnings,
        version=content["version"],
        user_data=content["user_data"],
        wishes=Wishes.read(content["wishes"]),
        wait=True,
        priority=session.priority,
        dialect=session.dialect,
        extra=session.extra,
    )
