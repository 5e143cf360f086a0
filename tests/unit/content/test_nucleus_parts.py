"""Parts of ``omniverse://`` without a server: discovery, paths, statuses, addresses."""

from __future__ import annotations

import inspect
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from downstage.content.dialects.nucleus import discovery, status
from downstage.content.dialects.nucleus.commands import COMMANDS, REFUSED, STREAMS
from downstage.content.dialects.nucleus.origin import Origin, check_site, origin_of
from downstage.content.dialects.nucleus.paths import Address, read_address
from downstage.kernel import errors
from downstage.kernel.errors import BadUrl, InvalidField, NotFound, NotSupported, PlatformError

pytestmark = pytest.mark.unit

HOME = Origin("127.0.0.1", 8600, is_secure=False)


def offers(*, secure: str = "false") -> list[dict[str, Any]]:
    meta = {"serializer": "json", "marshaller": "bs"}
    return [
        {"name": "sows", "meta": {**meta, "ssl": "true"}},
        {"name": "sows", "meta": {**meta, "ssl": secure, "supports_path": "true"}},
        {"name": "connlib"},
    ]


def query(origin: str, name: str, transports: object) -> dict[str, Any]:
    wanted = {"origin": origin, "name": name, "capabilities": {}}
    return {"query": {"service_interface": wanted, "supported_transport": transports}}


@pytest.mark.parametrize(
    ("origin", "name", "transport", "path"),
    [
        ("OmniAuth.idl.ts", "Credentials", "sows", "/omni/auth/api"),
        ("OmniAuth.idl.ts", "Tokens", "sows", "/omni/auth/api"),
        ("omni1.idl.ts", "Connection", "connlib", "/omni/api"),
    ],
)
def test_discovery_leads_back_to_the_same_port(
    origin: str, name: str, transport: str, path: str
) -> None:
    found = discovery.find(query(origin, name, offers()), HOME)
    assert found["found"] is True
    assert found["transport"]["name"] == transport
    params = json.loads(found["transport"]["params"])
    assert params == {"host": "127.0.0.1", "port": 8600, "path": path}
    assert found["transport"]["meta"] in (offers()[1]["meta"], {})


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"query": None},
        query("OmniAuth.idl.ts", "UserStore", offers()),
        query("OmniAuth.idl.ts", "Tokens", offers(secure="true")),
        query("OmniAuth.idl.ts", "Tokens", "sows"),
        query("omni1.idl.ts", "Connection", []),
    ],
)
def test_what_is_not_here_is_not_found(parameters: dict[str, Any]) -> None:
    assert discovery.find(parameters, HOME)["found"] is False


def test_everything_that_is_here() -> None:
    found = discovery.find_all(Origin("host", 443, is_secure=True))
    assert [item["service_interface"]["name"] for item in found] == [
        "Credentials",
        "Tokens",
        "Connection",
    ]
    assert found[0]["transport"]["meta"]["ssl"] == "true"


def connection(scheme: str = "ws", **headers: str) -> HTTPConnection:
    pairs = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    scope = {"type": "websocket", "scheme": scheme, "path": "/", "headers": pairs}
    return HTTPConnection(cast("Any", {**scope, "query_string": b"", "server": None}))


@pytest.mark.parametrize(
    ("scheme", "host", "base"),
    [
        ("ws", "127.0.0.1:8600", "http://127.0.0.1:8600"),
        ("ws", "stage.example", "http://stage.example:80"),
        ("wss", "stage.example", "https://stage.example:443"),
        ("ws", "[::1]:8600", "http://[::1]:8600"),
    ],
)
def test_clients_are_led_to_where_they_dialled(scheme: str, host: str, base: str) -> None:
    assert origin_of(connection(scheme, host=host)).base == base


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "a:b", "a:99999", "a:0", "é", "[::1"])
def test_a_bent_host_leads_nowhere(host: str) -> None:
    with pytest.raises(PlatformError):
        origin_of(connection(host=host))


def test_pages_of_other_sites_may_not_call() -> None:
    check_site(connection(host="a:1"))
    check_site(connection(host="a:1", origin="http://a:1"))
    for site in ("http://b:1", "https://a:1", "null", ""):
        with pytest.raises(errors.Forbidden):
            check_site(connection(host="a:1", origin=site))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/", Address("/", True)),
        ("/a/b.usd", Address("/a/b.usd", False)),
        ("/a/b/", Address("/a/b", True)),
        ({"path": "/a", "branch": "", "checkpoint": 3}, Address("/a", False, 3)),
        ({"path": "/a", "branch": None, "checkpoint": None}, Address("/a", False)),
    ],
)
def test_paths_of_folders_end_with_a_slash(value: object, expected: Address) -> None:
    assert read_address(value) == expected


@pytest.mark.parametrize(
    "value",
    [None, "", "a", 3, [], {}, {"path": 3}, "//", "/a//", "/a\\b", "/a\0b", "/" + "a" * 4096,
     "omniverse://other-host/a", "C:/a"],
)  # fmt: skip
def test_C01_what_is_no_path(value: object) -> None:
    with pytest.raises(BadUrl):
        read_address(value)


@pytest.mark.parametrize("checkpoint", [-1, "3", 1.5, True, 2**60, []])
def test_a_checkpoint_is_a_number(checkpoint: object) -> None:
    with pytest.raises(InvalidField):
        read_address({"path": "/a", "checkpoint": checkpoint})


def test_there_is_one_branch() -> None:
    with pytest.raises(NotSupported):
        read_address({"path": "/a", "branch": "mine"})


def test_a_file_is_no_folder() -> None:
    file, folder = (cast("Any", SimpleNamespace(kind=kind)) for kind in ("file", "folder"))
    assert Address("/a", False).check(file) is file
    assert Address("/a", True).check(folder) is folder
    for address, entry in ((Address("/a", True), file), (Address("/a", False), folder)):
        with pytest.raises(NotFound):
            address.check(entry)


@given(st.text() | st.dictionaries(st.text(), st.text()) | st.integers())
def test_C01_any_address_is_absolute_or_refused(value: object) -> None:
    try:
        found = read_address(value)
    except PlatformError:
        return
    assert found.path.startswith("/")
    assert found.path == "/" or not found.path.endswith("/")


STATUSES = {
    "NotFound": "INVALID_URI",
    "Forbidden": "DENIED",
    "Unauthenticated": "UNAUTHENTICATED",
    "AlreadyExists": "ALREADY_EXISTS",
    "VersionMismatch": "INVALID_ETAG",
    "Locked": "RESOURCE_BUSY",
    "FolderNotEmpty": "FOLDER_NOT_EMPTY",
    "WrongType": "NOT_ASSET",
    "BadUrl": "INVALID_PARAMETERS",
    "QuotaReached": "DENIED",
    "OutOfSpace": "QUOTA_REACHED",
    "DeadlineExceeded": "TIMEOUT",
    "NotSupported": "NOT_IMPLEMENTED",
    "TooMany": "SLOW_DOWN",
    "PlatformError": "INTERNAL_ERROR",
}


@pytest.mark.parametrize("name", STATUSES)
def test_errors_have_the_statuses_that_clients_know(name: str) -> None:
    error = getattr(errors, name)("why")
    assert status.status_of(error) == STATUSES[name]
    assert status.failure(error)["notice"] == "why"


def test_special_errors_have_their_own_statuses() -> None:
    assert status.status_of(status.LengthMismatch("x")) == "CONTENT_LENGTH_MISMATCH"
    assert status.status_of(status.InvalidContentId("x")) == "INVALID_CONTENT_ID"
    assert status.status_of(status.TokenExpired("x")) == "TOKEN_EXPIRED"


def test_slow_down_is_said_to_those_who_know_it() -> None:
    error = errors.TooMany("why", retry_after_s=3)
    assert status.failure(error) == {
        "status": "SLOW_DOWN", "ts": {}, "notice": "why", "backoff_time_ms": 3000
    }  # fmt: skip
    assert status.failure(error, slows_down=False)["status"] == "QUOTA_REACHED"


def test_every_command_is_spoken_once_or_refused_with_a_reason() -> None:
    names = [*COMMANDS, *STREAMS, *REFUSED]
    assert len(names) == len(set(names))
    assert all(REFUSED.values())
    assert all(inspect.iscoroutinefunction(command) for command in COMMANDS.values())
    assert all(inspect.isasyncgenfunction(stream) for stream in STREAMS.values())
