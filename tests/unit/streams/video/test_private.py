"""What a session shows is not read by everybody who may read streams."""

from __future__ import annotations

import pytest

from downstage.auth.principal import Principal, StreamBound
from downstage.streams.model import Right
from downstage.streams.rights import caller_of

pytestmark = [pytest.mark.unit]

READS = frozenset({"streams:read"})


@pytest.mark.parametrize("stream", ["session.s-1.video", "session.s-1.audio"])
def test_a_colleague_does_not_read_it_whatever_their_patterns_say(stream: str) -> None:
    colleague = Principal("u", "u", "user", scopes=READS)
    bounds = (StreamBound(stream, frozenset({"read"})), StreamBound("*", frozenset({"read"})))
    bounded = Principal("u", "u", "token", scopes=READS, streams=bounds)
    assert caller_of(colleague).rights(stream) is Right.NONE
    assert caller_of(bounded).rights(stream) is Right.NONE
    assert Right.READ in caller_of(colleague).rights("session.s-1.telemetry")
    assert Right.READ in caller_of(colleague).rights("video")


def test_an_instance_writes_its_own_and_an_administrator_reads_all() -> None:
    instance = caller_of(Principal("i", "i", "instance", session_id="s-1", instance_id="i"))
    admin = caller_of(Principal("a", "a", "user", scopes=frozenset({"streams:admin"})))
    assert instance.rights("session.s-1.video") is Right.WRITE
    assert instance.rights("session.s-2.video") is Right.NONE
    assert Right.READ in admin.rights("session.s-1.video")
