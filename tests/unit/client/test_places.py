"""Where addresses lead, which server that is, and who one is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from downstage.client.callbacks import Callbacks
from downstage.client.credentials import Credentials
from downstage.client.origins import Origin
from downstage.client.places import Place
from downstage.kernel import errors

pytestmark = pytest.mark.unit


def test_places() -> None:
    place = Place.of("OMNIVERSE://User@Host:3009/a/../b%20c/?&3#frag")
    assert (place.scheme, place.authority, place.path) == ("omniverse", "User@host:3009", "/b c")
    assert (place.query, place.checkpoint, place.name) == ("&3", 3, "b c")
    assert place.child("x?").url == "omniverse://User@host:3009/b%20c/x%3F"
    assert Place.of("/a#b").path == "/a#b"
    assert Place.of("omniverse://h").path == "/"
    assert Place.of("omniverse://h/%2e%2e/x").path == "/x"
    assert Place.of("http://h/a?v=1").checkpoint == 0
    assert Place.of("http://h/v1/files/a?&2").checkpoint == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "//h/a",
        "C:\\a",
        "\\\\srv\\a",
        "omniverse://h/a%2fb",
        "omniverse://h/a%00",
        "omniverse://h/a?branch&3",
        "omniverse://h/a?x=1&y=2",
        "file://other/a",
    ],
)
def test_C01_addresses_that_lead_nowhere(url: str) -> None:
    with pytest.raises(errors.BadUrl):
        Place.of(url)


def test_C01_a_name_adds_one_part() -> None:
    folder = Place.of("omniverse://h/a")
    for name in ("..", ".", "", "x\0", "//evil/x", "a/b"):
        with pytest.raises(errors.BadUrl):
            folder.child(name)
    assert folder.child("a:b?c").url == "omniverse://h/a/a:b%3Fc"


def test_what_lies_in_what() -> None:
    place = Place.of("omniverse://h/a")
    assert place.holds(Place.of("omniverse://h/a/b"))
    assert place.holds(place)
    assert not place.holds(Place.of("omniverse://h/ab"))
    assert not place.holds(Place.of("omniverse://h2/a/b"))


@pytest.mark.parametrize(
    ("url", "found", "is_hidden"),
    [
        ("omniverse://localhost/a", "http://localhost:8600", True),
        ("omniverse://127.0.0.1:99/a", "http://127.0.0.1:99", True),
        ("downstage://files.example/a", "https://files.example", True),
        ("omni://files.example:8443/a", "https://files.example:8443", True),
        ("http://files.example/a", "http://files.example", False),
        ("omniverse://[::1]/a", "http://[::1]:8600", True),
    ],
)
def test_servers(url: str, found: str, is_hidden: bool) -> None:
    origin = Origin.of(Place.of(url))
    assert origin.url == found
    assert origin.may_have_secrets is is_hidden


@pytest.mark.parametrize("url", ["omniverse:///a", "omniverse://h:0/a", "omniverse://h:99999/a"])
def test_addresses_without_a_server(url: str) -> None:
    with pytest.raises(errors.BadUrl):
        Origin.of(Place.of(url))


def test_a_server_by_a_unix_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOWNSTAGE_CONTENT_HOST", "files.example")
    monkeypatch.setenv("DOWNSTAGE_CONTENT_SOCKET", "/run/content/files.sock")
    origin = Origin.of(Place.of("omniverse://files.example/a"))
    assert (origin.scheme, origin.socket_path) == ("http", "/run/content/files.sock")
    assert origin.may_have_secrets
    assert Origin.of(Place.of("omniverse://other.example/a")).socket_path is None


class SignIns:
    """Counts who signs in."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, user: str, password: str) -> str:
        self.asked.append((user, password))
        return f"token-of-{user}"


def credentials(url: str, callbacks: Callbacks, **kw: Any) -> tuple[Credentials, SignIns]:
    sign_in = SignIns()
    place = Place.of(url)
    return Credentials(Origin.of(place), place.origin, callbacks, sign_in, **kw), sign_in


@pytest.fixture
def callbacks() -> Callbacks:
    return Callbacks(lambda run: run())


@pytest.mark.anyio
async def test_C05_secrets_go_to_no_server_that_was_not_named(
    callbacks: Callbacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that refers to ``omniverse://evil`` gets no token, and no password."""
    (tmp_path / "token").write_text("of-file")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOWNSTAGE_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("OMNI_USER", "anna")
    monkeypatch.setenv("OMNI_PASS", "geheim")
    for url in ("omniverse://evil.example", "http://files.example", "omniverse://localhost:99"):
        found, sign_in = credentials(url, callbacks)
        assert await found.token() is None
        assert sign_in.asked == []
    found, _ = credentials("omniverse://localhost", callbacks)
    assert await found.token() == "of-file"
    monkeypatch.setenv("DOWNSTAGE_CONTENT_HOST", "files.example")
    found, _ = credentials("omniverse://files.example", callbacks)
    assert await found.token() == "of-file"
    found, _ = credentials("http://files.example", callbacks)
    assert await found.token() is None
    found, _ = credentials("omniverse://localhost", callbacks)
    assert await found.token() is None


@pytest.mark.anyio
async def test_the_two_variables(callbacks: Callbacks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOWNSTAGE_CONTENT_HOST", "files.example")
    monkeypatch.setenv("OMNI_USER", "anna")
    monkeypatch.setenv("OMNI_PASS", "geheim")
    found, sign_in = credentials("omniverse://files.example", callbacks)
    assert await found.token() == await found.token() == "token-of-anna"
    assert sign_in.asked == [("anna", "geheim")]
    found.forget()
    assert await found.token() == "token-of-anna"
    assert len(sign_in.asked) == 2
    monkeypatch.setenv("OMNI_USER", "$omni-api-token")
    found.forget()
    assert await found.token() == "geheim"


@pytest.mark.anyio
async def test_callbacks_are_asked_in_turn(callbacks: Callbacks) -> None:
    asked = list[str]()

    def skip(prefix: str) -> None:
        asked.append(prefix)

    with callbacks.authorize.add(skip), callbacks.authorize.add(lambda _: ("bob", "b")):
        found, sign_in = credentials("omniverse://h.example:8443", callbacks)
        assert await found.token() == "token-of-bob"
        assert asked == ["omniverse://h.example:8443"]
        assert sign_in.asked == [("bob", "b")]
        lazy, _ = credentials("https://h.example", callbacks, is_eager=False)
        assert await lazy.token() is None
        lazy.forget()
        assert await lazy.token() == "token-of-bob"
        plain, _ = credentials("http://h.example", callbacks)
        with pytest.raises(errors.Unauthenticated, match="hides nothing"):
            await plain.token()
    found.forget()
    with callbacks.authorize.add(lambda _: True), pytest.raises(errors.Forbidden):
        await found.token()


@pytest.mark.anyio
async def test_the_platform_of_this_folder(
    callbacks: Callbacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "downstage-data/run"
    run.mkdir(parents=True)
    (run / "platform.json").write_text(json.dumps({"url": "http://127.0.0.1:7777"}))
    (run / "operator.token").write_text("of-operator")
    monkeypatch.chdir(tmp_path)
    found, _ = credentials("omniverse://localhost:7777", callbacks)
    assert await found.token() == "of-operator"
    found, _ = credentials("omniverse://localhost:7778", callbacks)
    assert await found.token() is None
