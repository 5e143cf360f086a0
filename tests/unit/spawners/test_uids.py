"""User ids: no two living instances of a machine have one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from downstage.spawners import uids
from downstage.spawners.plan import Plan, write_private
from downstage.spawners.spawner import SpawnFailed

pytestmark = pytest.mark.unit


def living(runs: Path, name: str, uid: int) -> None:
    folder = runs / name
    folder.mkdir()
    (folder / "keeper.sock").touch()
    write_private(folder / "plan.json", Plan(name, "x11", [], {}, [], {}, uid=uid))


def test_S01_many_at_once_get_one_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uids, "COUNT", 64)
    with ThreadPoolExecutor(8) as threads:
        names = [f"i-{number}" for number in range(64)]
        found = list(threads.map(lambda name: uids.take(tmp_path, name), names))
    assert sorted(found) == list(range(uids.FIRST, uids.FIRST + 64))
    with pytest.raises(SpawnFailed, match="64"):
        uids.take(tmp_path, "i-more")
    uids.give_back(tmp_path, "i-7")
    assert uids.take(tmp_path, "i-more") == found[7]
    for name in (*names, "i-more"):
        uids.give_back(tmp_path, name)


def test_S01_what_lives_since_before_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uids, "COUNT", 2)
    living(tmp_path, "i-old", uids.FIRST)
    (tmp_path / "i-gone").mkdir()
    assert uids.take(tmp_path, "i-new") == uids.FIRST + 1
    uids.give_back(tmp_path, "i-new")
    assert uids.take(tmp_path, "i-old") in (uids.FIRST, uids.FIRST + 1), "a second start of it"
    uids.give_back(tmp_path, "i-old")
