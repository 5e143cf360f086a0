"""Hints and requests between services, never the truth: a message may be lost."""

from downstage.bus.bus import Bus, Message
from downstage.bus.memory import MemoryBus

__all__ = ["Bus", "MemoryBus", "Message"]
