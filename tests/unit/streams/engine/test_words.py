"""Errors, addresses, versions, promises, slots, configuration: what is only read and written."""

from __future__ import annotations

import binascii
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import BadId, OutOfSpace, PlatformError, SetupError, StoreFull
from downstage.streams.engine import Moved, NotReady, Refused, slot_of
from downstage.streams.engine.address import Address, parse_address
from downstage.streams.engine.configuration import EngineOptions, configuration
from downstage.streams.engine.facts import read_facts, refusal, version_refusal
from downstage.streams.engine.places import Known
from downstage.streams.engine.remote import checked_address
from downstage.streams.engine.replies import to_error
from downstage.streams.engine.slots import read_shards
from downstage.streams.model import Durability

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("LOADING Valkey is loading the dataset in memory", NotReady),
        ("CLUSTERDOWN Hash slot not served", NotReady),
        ("TRYAGAIN Multiple keys request during rehashing of slot", NotReady),
        ("READONLY You can't write against a read only replica.", NotReady),
        ("MASTERDOWN Link with MASTER is down", NotReady),
        ("MOVED 3999 127.0.0.1:6381", Moved),
        ("ASK 3999 ::1:6381", Moved),
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreFull),
        ("MISCONF Errors writing to the AOF file: No space left on device", OutOfSpace),
        ("ERR The ID specified in XADD is equal or smaller than the target stream top item", BadId),
        ("ERR The ID specified in XADD must be greater than 0-0", BadId),
        ("ERR Invalid stream ID specified as stream command argument", BadId),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Refused),
        ("MOVED nonsense", Refused),
        ("", Refused),
    ],
)
def test_errors_of_the_engine_have_their_class(text: str, kind: type[PlatformError]) -> None:
    error = to_error(text)
    assert type(error) is kind
    assert kind is Refused or error.status in (422, 503, 507)


def test_a_move_names_the_place() -> None:
    moved = to_error("ASK 3999 ::1:6381")
    assert isinstance(moved, Moved)
    assert (moved.slot, moved.host, moved.port, moved.ask) == (3999, "::1", 6381, True)


@given(st.text())
def test_any_error_text_is_some_error(text: str) -> None:
    assert isinstance(to_error(text), PlatformError)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", Address("h", 6379)),
        ("redis://:p%40ss@h:7000/3", Address("h", 7000, "", "", "p@ss", 3)),
        ("valkey://u:p@[::1]:1", Address("::1", 1, "", "u", "p")),
        ("unix:///run/v.sock?db=2", Address("", 0, "/run/v.sock", "", "", 2)),
        ("unix://u:p@/run/v.sock", Address("", 0, "/run/v.sock", "u", "p")),
    ],
)
def test_addresses_are_read(url: str, address: Address) -> None:
    assert parse_address(url) == address


def test_tls_is_asked_for_by_the_scheme() -> None:
    assert parse_address("rediss://h").tls is not None
    assert parse_address("redis://h").tls is None


@pytest.mark.parametrize(
    "url", ["http://:secret@h", "redis://:secret@h:port", "secret", "redis://:secret@h/x", ""]
)
def test_a_wrong_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        parse_address(url)
    assert "secret" not in caught.value.detail


def test_an_address_never_shows_its_password() -> None:
    address = parse_address("redis://user:hunter2@h:1")
    assert "hunter2" not in f"{address} {address!r}"


def test_a_missing_authority_is_named() -> None:
    with pytest.raises(SetupError, match="ssl_ca_certs"):
        parse_address("rediss://h?ssl_ca_certs=/nowhere/ca.pem")


@pytest.mark.parametrize(
    "url", ["redis://10.0.0.5", "redis://valkey.internal:6379", "redis://[2001:db8::1]"]
)
def test_another_machine_without_a_password_is_refused(url: str) -> None:
    with pytest.raises(SetupError, match="without a password"):
        checked_address(url)


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1", "redis://[::1]", "redis://localhost", "unix:///s", "redis://:p@10.0.0.5"],
)
def test_loopback_and_passwords_are_taken(url: str) -> None:
    assert checked_address(url)
    assert checked_address("rediss://10.0.0.5").tls


@pytest.mark.parametrize(
    ("product", "version", "is_taken"),
    [
        ("redis", (7, 0, 15), False),
        ("redis", (8, 6, 2), False),
        ("redis", (8, 6, 3), True),
        ("redis", (9, 0, 0), True),
        ("valkey", (7, 2, 12), False),
        ("valkey", (7, 2, 13), True),
        ("valkey", (8, 0, 8), False),
        ("valkey", (8, 1, 6), False),
        ("valkey", (8, 1, 7), True),
        ("valkey", (9, 0, 3), False),
        ("valkey", (9, 0, 4), True),
        ("valkey", (9, 1, 0), True),
        ("valkey", (8, 9, 0), False),
    ],
)
def test_versions_with_the_hole_are_refused_with_the_reason(
    product: str, version: tuple[int, int, int], is_taken: bool
) -> None:
    why = version_refusal(product, version)
    assert (why is None) is is_taken
    assert is_taken or (why and "CVE-2026-23479" in why and "allow_old_engines" in why)


FIELDS = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "run_id": "abc",
    "role": "master",
    "aof_enabled": "1",
    "maxmemory_policy": "noeviction",
    "connected_slaves": "2",
    "slave0": "ip=10.0.0.2,port=6380,state=online,offset=1,lag=0,type=replica",
    "slave1": "ip=10.0.0.3,port=6380,state=wait_bgsave,offset=0,lag=0",
}


@pytest.mark.parametrize(
    ("keeps_log", "fsync", "promise"),
    [
        ("1", "always", Durability.ALWAYS),
        ("1", "everysec", Durability.EVERYSEC),
        ("1", "no", Durability.MEMORY),
        ("1", None, Durability.MEMORY),
        ("0", "always", Durability.MEMORY),
    ],
)
def test_no_more_is_promised_than_is_known(
    keeps_log: str, fsync: str | None, promise: Durability
) -> None:
    assert read_facts({**FIELDS, "aof_enabled": keeps_log}, fsync).durability is promise


def test_facts_are_read() -> None:
    facts = read_facts(FIELDS, "everysec")
    assert (facts.product, facts.version, facts.is_primary) == ("valkey", (9, 1, 2), True)
    assert facts.replicas == (("10.0.0.2", 6380),)
    replica = {**FIELDS, "role": "slave", "master_host": "h", "master_port": "1"}
    assert read_facts(replica, None).primary == ("h", 1)


@pytest.mark.parametrize("fields", [{}, {"redis_version": "new"}, {"redis_version": "7.0.0"}])
def test_something_else_is_not_taken_for_an_engine(fields: dict[str, str]) -> None:
    with pytest.raises(NotReady, match="no Valkey"):
        read_facts(fields, None)


def test_an_engine_that_throws_away_is_refused() -> None:
    facts = read_facts({**FIELDS, "maxmemory_policy": "allkeys-lru"}, "everysec")
    assert "noeviction" in (refusal(facts, allow_old=True) or "")
    assert refusal(read_facts(FIELDS, "everysec"), allow_old=False) is None


@pytest.mark.anyio
async def test_who_was_named_is_tried_and_who_leads_is_first() -> None:
    first = Address("10.0.0.1", 6380, password="p")
    places = Known(first)
    places.learned(first, read_facts(FIELDS, None))
    replica = first.at("10.0.0.2", 6380)
    assert await places.candidates() == [first, replica]
    assert replica.password == "p"
    places.learned(replica, read_facts({**FIELDS, "connected_slaves": "0"}, None))
    assert (await places.candidates())[0] == replica


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"123456789", b"123456789"),
        (b"{user}.a", b"user"),
        (b"a{}b", b"a{}b"),
        (b"a{{b}}c", b"{b"),
        (b"a{b", b"a{b"),
    ],
)
def test_slots_follow_the_specification(key: bytes, hashed: bytes) -> None:
    assert slot_of(key) == binascii.crc_hqx(hashed, 0) % 16384
    assert slot_of(b"123456789") == 12739  # of the cluster specification: 0x31C3


def test_a_map_is_read() -> None:
    def node(name: bytes, port: int, role: bytes, endpoint: bytes = b"") -> list[bytes | int]:
        facts = [b"id", name, b"port", port, b"tls-port", port + 1, b"role", role]
        return [*facts, b"endpoint", endpoint, b"health", b"online"]

    reply = [
        [
            b"slots",
            [0, 10, 20, 20],
            b"nodes",
            [node(b"r", 2, b"replica"), node(b"p", 1, b"master")],
        ],
        [b"slots", [], b"nodes", [node(b"empty", 3, b"master", b"h")]],
    ]
    (group,) = read_shards(reply, "asked", tls=False)
    assert group.slots == ((0, 10), (20, 20))
    assert [(n.id, n.host, n.port, n.is_primary) for n in group.nodes] == [
        ("p", "asked", 1, True),
        ("r", "asked", 2, False),
    ]
    assert read_shards(reply, "asked", tls=True)[0].nodes[0].port == 2


def test_the_configuration_is_closed_and_keeps_its_log() -> None:
    folder = Path('/tmp/a "b" c')
    text = configuration(folder, EngineOptions(), "hunter2", socket=folder / "engine.sock", port=0)
    lines = text.splitlines()
    for line in ("port 0", "appendonly yes", "appendfsync no", 'save ""'):
        assert line in lines
    for line in ("maxmemory-policy noeviction", "user default off", "unixsocketperm 600"):
        assert line in lines
    assert r'dir "/tmp/a \"b\" c"' in lines
    assert "hunter2" not in text
    assert "-@scripting -@dangerous" in text


def test_an_engine_may_keep_nothing() -> None:
    text = configuration(Path("/f"), EngineOptions("none"), "p", socket=None, port=7000)
    assert "appendonly no" in text
    assert "bind 127.0.0.1" in text.splitlines()


def test_a_line_break_never_reaches_the_configuration() -> None:
    with pytest.raises(SetupError):
        configuration(Path("/f\nuser x"), EngineOptions(), "p", socket=None, port=1)
