"""Where a stage may come from, and who gets the person's token."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstage.apps.usd_viewer.problem import StageProblem
from downstage.apps.usd_viewer.source import bearer_for, parse_source

pytestmark = pytest.mark.unit


def test_the_demo_is_shipped() -> None:
    for text in ("", "demo"):
        path = parse_source(text).path
        assert path is not None
        assert path.is_file()
        assert path.stat().st_size < 1_500_000


def test_paths_and_file_addresses(tmp_path: Path) -> None:
    stage = tmp_path / "a stage.usda"
    stage.write_text("#usda 1.0\n")
    assert parse_source(str(stage)).path == stage
    assert parse_source("file://" + str(stage).replace(" ", "%20")).path == stage


def test_web_addresses_keep_their_name() -> None:
    source = parse_source("https://content.invalid/a/My%20stage.usdz?v=3")
    assert (source.name, source.path) == ("My stage.usdz", None)


def test_stages_on_content_servers_are_followed() -> None:
    source = parse_source("omniverse://content.invalid/a/My%20stage.usd")
    assert (source.name, source.path, source.is_served) == ("My stage.usd", None, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("omniverse:///a.usd", "not known"),
        ("omniverse://host/a.exe", "not a USD stage"),
        ("ftp://host/a.usd", "not known"),
        ("https:///a.usd", "not known"),
        ("/no/such/file.usda", "no such file"),
        ("/etc/hostname", "not a USD stage"),
        ("https://host.invalid/a.exe", "not a USD stage"),
    ],
)
def test_what_cannot_be_opened_says_so(text: str, words: str) -> None:
    with pytest.raises(StageProblem, match=words) as caught:
        parse_source(text)
    assert caught.value.remedy


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("a-token\n")
    monkeypatch.setenv("DOWNSTAGE_TOKEN_FILE", str(file))
    monkeypatch.setenv("DOWNSTAGE_CONTENT_HOST", "content.example:8443")


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    ("url", "bearer"),
    [
        ("https://content.example:8443/a.usd", "a-token"),
        ("https://CONTENT.example:8443/a.usd", "a-token"),
        ("https://content.example/a.usd", None),
        ("http://content.example:8443/a.usd", None),
        ("https://content.example.evil.example:8443/a.usd", None),
        ("https://content.example:8443@evil.example/a.usd", None),
        ("https://evil.example:8443/a.usd", None),
    ],
)
def test_the_token_goes_to_the_content_host_alone(url: str, bearer: str | None) -> None:
    assert bearer_for(url) == bearer


@pytest.mark.usefixtures("token")
def test_without_a_content_host_nobody_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOWNSTAGE_CONTENT_HOST")
    assert bearer_for("https://content.example:8443/a.usd") is None
