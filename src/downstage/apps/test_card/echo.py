"""What arrives on any data channel goes back on it, so that both ways can be proved."""

from __future__ import annotations

import os
import selectors
import threading

from downstage.apps.channels import Channel, ChannelClosed, Event, Events

__all__ = ["HEARD", "start_echo"]

HEARD = "test-card::heard"
"""What the card says on the control channel of whoever sent it an event."""


def start_echo() -> None:
    """Answer from a thread of its own, as long as the program runs; nothing outside a session."""
    if "DOWNSTAGE_CHANNELS" in os.environ:
        threading.Thread(target=_run, name="echo", daemon=True).start()


def _run() -> None:
    while True:
        with Events() as events, selectors.DefaultSelector() as selector:
            selector.register(events, selectors.EVENT_READ)
            try:
                _serve(events, selector)
            except ChannelClosed:
                for key in list(selector.get_map().values()):
                    if isinstance(key.fileobj, Channel):
                        key.fileobj.close()


def _serve(events: Events, selector: selectors.BaseSelector) -> None:
    while True:
        for key, _ in selector.select():
            if isinstance(key.fileobj, Channel):
                _echo(key.fileobj, selector)
                continue
            event = events.receive()
            if event.type == "channel::opened":
                selector.register(Channel(str(event.data["name"])), selectors.EVENT_READ)
            else:
                _answer(events, event)


def _echo(channel: Channel, selector: selectors.BaseSelector) -> None:
    try:
        channel.send(channel.receive(timeout=0))
    except TimeoutError:
        return  # it was a notice
    except ChannelClosed:
        selector.unregister(channel)
        channel.close()


def _answer(events: Events, event: Event) -> None:
    events.send(HEARD, {"type": event.type, "data": event.data}, viewer=event.viewer)
