"""Push, pull, record and replay streams of a server.

::

    from downstage.streams import Client

    with Client("http://localhost:8600") as client:
        with client.push("robot.pose") as push:
            push.send({"x": 1.0, "y": 2.5})
        for entry in client.pull("robot.pose", last="0", count=1):
            print(entry.id, entry.json())

`AsyncClient` is the same for event loops.
"""

from __future__ import annotations

from downstage.client.streams.asynchronous import AsyncClient
from downstage.client.streams.blocking_client import Client
from downstage.client.streams.blocking_parts import Consumer, Pull, Push, Recordings
from downstage.client.streams.consuming import AsyncConsumer
from downstage.client.streams.model import (
    ConsumerInfo,
    Entry,
    Gap,
    Receipt,
    RecordingInfo,
    ReplayInfo,
    Retention,
    StreamInfo,
    Taken,
    Ticket,
)
from downstage.client.streams.pulling import AsyncPull
from downstage.client.streams.pushing import AsyncPush
from downstage.client.streams.recording import AsyncRecordings

__all__ = [
    "AsyncClient",
    "AsyncConsumer",
    "AsyncPull",
    "AsyncPush",
    "AsyncRecordings",
    "Client",
    "Consumer",
    "ConsumerInfo",
    "Entry",
    "Gap",
    "Pull",
    "Push",
    "Receipt",
    "RecordingInfo",
    "Recordings",
    "ReplayInfo",
    "Retention",
    "StreamInfo",
    "Taken",
    "Ticket",
]
