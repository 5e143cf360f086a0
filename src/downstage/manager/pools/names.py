"""Which pool serves a request: its name says all that instances of one pool share.

An instance of a pool was started before its session, so it serves requests that ask for nothing
that would have had to be known then: no stage, arguments, environment, ports, image or addons of
their own, the profile's own needs and rate, a picture that its display holds.
"""

from __future__ import annotations

import json
from hashlib import blake2s

from downstage.contracts.manager import InstanceCreate
from downstage.manager.planning import Planned

__all__ = ["pool_of", "pool_that_serves", "shown"]

LARGEST = (4096, 2304)
"""Picture that every display holds."""


def pool_that_serves(planned: Planned, request: InstanceCreate) -> str | None:
    """The pool whose instances can serve *request*; None where none can."""
    display, is_insecure = planned.spec.display, request.streaming_mode == "insecure"
    asks = (request.stage, request.arguments, request.environment, request.ports)
    asks += (request.image, request.addons, request.content_folder, is_insecure)
    is_large = display.width > LARGEST[0] or display.height > LARGEST[1]
    if not planned.pool_size or any(asks) or is_large:
        return None
    if planned.spec.image is not None and request.labels:
        return None  # they are put on a container when it is made
    return pool_of(planned)


def pool_of(planned: Planned) -> str:
    """The pool that an instance of *planned* belongs to."""
    shared = [planned.spec.display.fps, planned.needs.model_dump()]
    digest = blake2s(json.dumps(shared, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{planned.application}@{planned.version}/{planned.profile}#{digest}"


def shown(pool: str | None) -> str | None:
    """The name as people see it."""
    return None if pool is None else pool.partition("#")[0]
