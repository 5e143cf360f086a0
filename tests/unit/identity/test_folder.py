"""A data folder keeps its mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstage.identity.folder import DATABASE, MARK, claim_folder
from downstage.kernel.errors import SetupError

pytestmark = pytest.mark.unit


def test_an_empty_folder_takes_either_mode(tmp_path: Path) -> None:
    claim_folder(tmp_path / "a", demo=True)
    claim_folder(tmp_path / "b", demo=False)
    assert (tmp_path / "a" / MARK).exists()
    assert not (tmp_path / "b" / MARK).exists()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_a_marked_folder_stays_a_demos(tmp_path: Path) -> None:
    claim_folder(tmp_path, demo=True)
    claim_folder(tmp_path, demo=True)
    with pytest.raises(SetupError, match="--data"):
        claim_folder(tmp_path, demo=False)


def test_a_used_folder_without_a_mark_stays_real(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    claim_folder(tmp_path, demo=False)
    with pytest.raises(SetupError, match="real installation"):
        claim_folder(tmp_path, demo=True)
    assert not (tmp_path / MARK).exists()
