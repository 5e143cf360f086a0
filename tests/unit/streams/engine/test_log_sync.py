"""The log is brought to the disk where it has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstage.streams.engine.log_sync import LogSync

pytestmark = pytest.mark.unit


def test_what_has_changed_is_synced(tmp_path: Path) -> None:
    sync = LogSync(tmp_path / "log")
    sync.sync()  # not there yet
    assert sync.syncs == 0
    (tmp_path / "log").mkdir()
    one, other = tmp_path / "log" / "entries.1", tmp_path / "log" / "entries.2"
    one.write_bytes(b"a")
    other.write_bytes(b"b")
    sync.sync()
    assert sync.syncs == 2
    sync.sync()
    assert sync.syncs == 2, "nothing has changed"
    with one.open("ab") as file:
        file.write(b"more")
    sync.sync()
    assert sync.syncs == 3
    one.unlink()
    sync.sync()
    assert sync.syncs == 3


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"x")
    (tmp_path / "log" / "link").symlink_to(tmp_path / "elsewhere")
    sync = LogSync(tmp_path / "log")
    sync.sync()
    assert sync.syncs == 0
