"""``omni.client`` is our client, where somebody asked for it and no real one is here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import downstage.omni
from downstage import client
from downstage.kernel.errors import SetupError

pytestmark = pytest.mark.unit


@pytest.fixture
def installed() -> Iterator[None]:
    downstage.omni.install()
    yield
    downstage.omni.uninstall()


@pytest.mark.usefixtures("installed")
def test_it_is_our_client(tmp_path: Path) -> None:
    theirs: Any = importlib.import_module("omni.client")
    assert theirs.Result is client.Result
    (tmp_path / "a").write_bytes(b"1")
    result, entries = theirs.list(str(tmp_path))
    assert (str(result), [entry.relative_path for entry in entries]) == ("Result.OK", ["a"])
    with pytest.raises(AttributeError, match="has no nothing here"):
        _ = theirs.nothing
    client.shutdown()
    client.initialize()


def test_without_being_asked_there_is_none() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("omni.client")


def test_it_never_hides_a_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "omni/client"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SetupError, match=r"alias of omni\.client is refused"):
        downstage.omni.install()
    assert not [name for name in sys.modules if name.startswith("omni.client")]
