"""What a session brings is written where the application, which may be hostile, can write too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from downstage.spawners.keeper import adoption
from downstage.spawners.plan import Plan

pytestmark = pytest.mark.unit
REQUEST: dict[str, Any] = {
    "streamer": {
        "session_id": "s-1",
        "instance_id": "i-1",
        "instance_token": "the-instance-token",
        "link_url": "unix:///g",
        "media_socket": "/somewhere/else",
    },
    "token": "the-person's-token",
    "user_data": "data",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    config = {"session_id": None, "media_socket": "/own/media.sock", "display_kind": "x11"}
    (tmp_path / "streamer.json").write_text(json.dumps(config))
    return tmp_path


def plan() -> Plan:
    return Plan("i-pool", "x11", [], {}, [], {}, waits=True)


def test_a_session_changes_what_is_its_own_and_nothing_else(folder: Path) -> None:
    secrets = adoption.adopt(folder, plan(), REQUEST)
    assert secrets == ["the-instance-token", "the-person's-token"]
    config = json.loads((folder / "streamer.json").read_text())
    assert (config["session_id"], config["link_url"]) == ("s-1", "unix:///g")
    assert config["media_socket"] == "/own/media.sock"
    assert (folder / "streamer.json").stat().st_mode & 0o777 == 0o600
    for name, text in (("token", "the-person's-token"), ("user-data", "data")):
        path = folder / "app" / name
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["token", ".token.new", "user-data"])
def test_a_link_that_the_application_laid_is_not_followed(folder: Path, name: str) -> None:
    outside = folder / "outside"
    outside.write_text("not yours")
    (folder / "app" / name).symlink_to(outside)
    adoption.adopt(folder, plan(), REQUEST)
    assert outside.read_text() == "not yours"
    assert (folder / "app" / "token").read_text() == "the-person's-token"
    assert not (folder / "app" / "token").is_symlink()


def test_a_folder_in_the_way_leaves_the_configuration_as_it_was(folder: Path) -> None:
    (folder / "app" / ".token.new").mkdir()
    with pytest.raises(OSError, match=r"token"):
        adoption.adopt(folder, plan(), REQUEST)
    assert json.loads((folder / "streamer.json").read_text())["session_id"] is None
