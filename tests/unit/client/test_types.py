"""Types of the client: their names, texts, and what they hold."""

from __future__ import annotations

import gc
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from downstage import client
from downstage.client.outcome import error_of, error_of_code, result_of
from downstage.kernel import errors

pytestmark = pytest.mark.unit

NAMES = json.loads(
    (Path(__file__).parents[2] / "data/client/names.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", sorted(NAMES["enumerations"]))
def test_enumerations_have_the_published_members(name: str) -> None:
    kind = getattr(client, name)
    for member in NAMES["enumerations"][name]:
        value = getattr(kind, member)
        assert str(value) == f"{name}.{member}"
        assert value.name == member
        assert kind(int(value)) is value


@pytest.mark.parametrize("name", sorted(NAMES["properties"]))
def test_classes_have_the_published_properties(name: str) -> None:
    made = {
        "ListEntry": client.ListEntry(),
        "ServerInfo": client.ServerInfo(),
        "Url": client.Url(),
        "Request": client.Request(0),
    }[name]
    for member in NAMES["properties"][name]:
        assert hasattr(made, member), member
    assert str(made)


@pytest.mark.parametrize("name", sorted(NAMES["functions"]))
def test_functions_are_there_in_the_published_flavours(name: str) -> None:
    for flavour in NAMES["functions"][name]:
        whole = {"B": name, "A": f"{name}_async", "C": f"{name}_with_callback"}[flavour]
        assert callable(getattr(client, whole)), whole


def test_everything_promised_is_there() -> None:
    for name in client.__all__:
        if not name.startswith("usd_live"):  # loaded with USD, tested there
            assert getattr(client, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        client.nothing  # noqa: B018 - the look is the test


def test_results_and_errors_are_two_words_for_one_thing() -> None:
    for result in client.Result:
        if result.is_ok:
            assert result.raise_for_result() is result
            continue
        with pytest.raises(errors.PlatformError) as caught:
            result.raise_for_result("omniverse://h/a")
        told = result_of(caught.value)
        assert told is result or result is client.Result.ERROR_ACCESS_LOST
        assert "omniverse://h/a" in caught.value.detail
    assert result_of(ValueError()) is client.Result.ERROR
    assert type(error_of(client.Result.ERROR)) is errors.PlatformError


def test_codes_of_servers_become_errors() -> None:
    assert isinstance(error_of_code("locked", "x"), errors.Locked)
    assert isinstance(error_of_code("invalid-field", "x"), errors.InvalidInput)
    assert type(error_of_code("of-tomorrow", "x")) is errors.PlatformError


def test_contents_are_buffers() -> None:
    content = client.Content(b"abc")
    view = memoryview(content)
    assert view.tobytes() == b"abc"
    assert bytes(content) == content == b"abc"
    assert str(content) == "<Content of 3 bytes>"


def test_times_of_entries() -> None:
    entry = client.ListEntry(modified_time=1_700_000_000_123_456_789)
    assert entry.modified_datetime == datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)
    assert entry.created_datetime is None
    assert "1700000000123456789" in str(entry)


def test_a_registration_ends_with_its_last_reference() -> None:
    ended = list[int]()
    registration = client.Registration(7, lambda: ended.append(1))
    assert registration.handle == 7
    del registration
    gc.collect()
    assert ended == [1]
    with client.Subscription(8, lambda: ended.append(2)) as kept:
        pass
    kept.unregister()
    assert ended == [1, 2]
    assert kept.handle == 0


def test_secrets_are_not_shown() -> None:
    """A16: whoever prints what they got prints no token."""
    assert "geheim" not in repr(client.ServerInfo(auth_token="geheim"))
