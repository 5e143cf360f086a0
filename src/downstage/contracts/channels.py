"""Data channels between viewers and the application: sockets in one folder of the instance.

The folder is named to the application by the variable `ENVIRONMENT`. In it the streamer listens
on unix sockets of type ``SOCK_SEQPACKET``; the application connects. **One packet is one message**,
its first byte says what it is, the rest (at most `MAX_MESSAGE` bytes) is the message:

========  ==============  ==================================================================
byte      direction       the rest
========  ==============  ==================================================================
`TEXT`    both            text, UTF-8: a string in the browser
`BINARY`  both            bytes: an ``ArrayBuffer`` in the browser
`NOTICE`  to application  JSON ``{"viewers": n, "lost": n}``: how many viewers have the
                          channel open, how many messages to the application were refused
                          because it did not fetch them; sent at once and when it changes
========  ==============  ==================================================================

``webrtc_data_<name>`` is the data channel of that name. There is one socket for each name that
the application declares, from its start, and one for each that a viewer opens. Messages that come
before the other side is there are kept, `MAX_KEPT` of them and `MAX_KEPT_BYTES`; above that the
oldest are refused and counted. Viewers that only watch hear, and are not heard.

``events`` carries JSON texts ``{"type", "data", "viewer"}``: input that no display takes (pads,
input methods, sensors, places, vehicle properties), and ``channel::opened`` with ``{"name"}`` for
each channel. What the application sends there (``{"type", "data"}``, and ``viewer`` to reach one
alone) goes to viewers whose dialect has messages of its own, as a control message.

The newest connection to a socket is the one that counts; an earlier one is closed.
"""

from __future__ import annotations

__all__ = [
    "BINARY",
    "ENVIRONMENT",
    "EVENTS",
    "MAX_KEPT",
    "MAX_KEPT_BYTES",
    "MAX_MESSAGE",
    "MAX_NAMES",
    "NAME",
    "NOTICE",
    "PREFIX",
    "RESERVED",
    "TEXT",
]

ENVIRONMENT = "DOWNSTAGE_CHANNELS"
PREFIX = "webrtc_data_"
EVENTS = "events"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""What a channel may be called."""
RESERVED = frozenset({"control", "input", "pointer"})
"""Labels that mean the platform's own channels."""

NOTICE, TEXT, BINARY = 0, 1, 2
MAX_MESSAGE = 64 * 1024
MAX_KEPT = 1000
MAX_KEPT_BYTES = 1 << 20
MAX_NAMES = 64
"""Channels of one instance, those of all its viewers together."""
