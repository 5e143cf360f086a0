"""Sealed text opens with its key, in its place, and nowhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.auth.seal import Sealer
from downstage.kernel.errors import SetupError

pytestmark = pytest.mark.unit

SEALER = Sealer(b"k" * 32)


@given(text=st.text(), place=st.text(max_size=40))
def test_what_was_sealed_opens(text: str, place: str) -> None:
    sealed = SEALER.seal(text, place)
    assert SEALER.open(sealed, place) == text
    assert len(text) < 4 or text not in sealed


def test_the_same_text_never_seals_the_same() -> None:
    assert SEALER.seal("x") != SEALER.seal("x")


def test_another_place_does_not_open_it() -> None:
    sealed = SEALER.seal("secret", "session:1")
    with pytest.raises(SetupError):
        SEALER.open(sealed, "session:2")


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(SetupError):
        Sealer(b"j" * 32).open(SEALER.seal("secret"))


def test_a_mark_tells_keys_apart_and_nothing_of_them() -> None:
    mark = SEALER.mark()
    assert mark == Sealer(b"k" * 32).mark() != Sealer(b"j" * 32).mark()
    assert len(mark) == 64
    assert (b"k" * 32).hex() != mark


def test_no_changed_character_passes() -> None:
    sealed = SEALER.seal("secret")
    for at in range(0, len(sealed), 7):
        other = "A" if sealed[at] != "A" else "B"
        with pytest.raises(SetupError):
            SEALER.open(sealed[:at] + other + sealed[at + 1 :])


@pytest.mark.parametrize("rubbish", ["", "....", "a.b.c.d.e", "eyJhbGciOiJub25lIn0.e30."])
def test_rubbish_does_not_open(rubbish: str) -> None:
    with pytest.raises(SetupError):
        SEALER.open(rubbish)


def test_the_key_file_is_made_once_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    previous = os.umask(0)
    try:
        first = Sealer.from_file(path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Sealer.from_file(path).open(first.seal("x")) == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["identity.key"]


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    Sealer.from_file(path)
    path.chmod(0o640)
    with pytest.raises(SetupError, match="chmod 600"):
        Sealer.from_file(path)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 50, b"QUJD"])
def test_a_file_without_a_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(SetupError, match="holds no key"):
        Sealer.from_file(path)
    assert path.read_bytes() == content


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        Sealer(b"short")
