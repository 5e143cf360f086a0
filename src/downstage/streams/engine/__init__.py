"""The engine that holds entries: a Valkey that we start, or one of somebody's own.

`open_engine` gives an `Engine`: a `Shard` for each primary, and on each shard `Lane` objects,
which take trains of commands. A restart, a load, a failover are a pause: the shard goes down, what
was not answered is `Lost`, and it comes up again with another epoch.
"""

from __future__ import annotations

from downstage.streams.engine.nodes import Engine, open_engine, wait_replicas
from downstage.streams.engine.replies import Lost, Moved, NotReady, Refused
from downstage.streams.engine.resp import Buffer, Lane, encode
from downstage.streams.engine.shard import EngineState, Shard
from downstage.streams.engine.slots import slot_of

__all__ = [
    "Buffer",
    "Engine",
    "EngineState",
    "Lane",
    "Lost",
    "Moved",
    "NotReady",
    "Refused",
    "Shard",
    "encode",
    "open_engine",
    "slot_of",
    "wait_replicas",
]
