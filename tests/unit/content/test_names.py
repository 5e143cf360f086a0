"""Paths: one form reaches the tree, everything else is refused."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.content import names
from downstage.content.model import Caller
from downstage.content.service import Content
from downstage.kernel.errors import AlreadyExists, BadUrl, NotFound, PlatformError

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PIECES = st.sampled_from(
    ["..", ".", "", "a", "A", "b.txt", "%2e%2e", "..%c0%af", "\\", "..\\", "C:", "c:", "\x00",
     "a\x00", "é", "e\u0301", "ﬁ", "ß", "SS", "İ", "a.", "a ", " a", "\u202e", "\ud800", "\n",
     "~", "...", "é" * 127, "x" * 255, "x" * 256, "://other-host"]
)  # fmt: skip
PATHS = st.one_of(
    st.lists(PIECES, max_size=70).map(lambda parts: "/" + "/".join(parts)),
    st.lists(PIECES, max_size=4).map("/".join),
    st.text(max_size=64),
    st.text(alphabet="/.aA\\%\x00:é\u0301 ", max_size=64),
)


@given(PATHS)
def test_C01_any_path_is_refused_or_names_one_place_below_the_root(path: str) -> None:
    try:
        parts = names.parse(path)
    except BadUrl:
        return
    assert len(parts) <= names.MAX_DEPTH
    assert len(names.join(parts).encode()) <= names.MAX_PATH + 1
    for part in parts:
        assert part not in {"", ".", ".."}
        assert not set(part) & {"/", "\\", "\x00"}
        assert part == unicodedata.normalize("NFC", part)
        assert 0 < len(part.encode()) <= names.MAX_NAME
        assert part[-1] not in ". "
    assert not parts or parts[0][1:] != ":"
    assert names.parse(names.join(parts)) == parts


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="empty"),
        pytest.param("a", id="relative"),
        pytest.param("omniverse://other-host/a", id="another host"),
        pytest.param("//other-host/a", id="two slashes"),
        pytest.param("/a/../b", id="up"),
        pytest.param("/..", id="above the root"),
        pytest.param("/a/./b", id="dot"),
        pytest.param("/a//b", id="empty name"),
        pytest.param("/a\\b", id="backslash"),
        pytest.param("/C:", id="drive"),
        pytest.param("/c:/Windows", id="drive and folder"),
        pytest.param("/a\x00b", id="NUL"),
        pytest.param("/a\nb", id="line feed"),
        pytest.param("/a.", id="trailing dot"),
        pytest.param("/a ", id="trailing blank"),
        pytest.param("/a/...", id="three dots"),
        pytest.param("/\u202etxt.exe", id="reading order"),
        pytest.param("/\ud800", id="half a character"),
        pytest.param("/" + "a" * 256, id="a long name"),
        pytest.param("/" + "é" * 128, id="a long name in UTF-8"),
        pytest.param("/a" * 65, id="too deep"),
        pytest.param(("/" + "a" * 127) * 33, id="more than 4 KiB"),
    ],
)
def test_C01_no_path(path: str) -> None:
    with pytest.raises(BadUrl):
        names.parse(path)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/", ()),
        ("/a/", ("a",)),
        ("/a/b.usd", ("a", "b.usd")),
        ("/.hidden", (".hidden",)),
        ("/%2e%2e", ("%2e%2e",)),  # decoded once by the dialect: this is its name
        ("/e\u0301", ("\u00e9",)),
        ("/a/C:", ("a", "C:")),
        ("/" + "a" * 255, ("a" * 255,)),
        ("/a" * 64, ("a",) * 64),
    ],
)
def test_paths(path: str, parts: tuple[str, ...]) -> None:
    assert names.parse(path) == parts


@given(st.text(min_size=1, max_size=20))
def test_case_and_normalisation_fold_away(name: str) -> None:
    folded = names.fold(name)
    assert folded == names.fold(unicodedata.normalize("NFC", name))
    assert folded == names.fold(unicodedata.normalize("NFD", name))
    assert folded == names.fold(folded)
    if name.isascii():
        assert folded == names.fold(name.upper())


@pytest.mark.parametrize(
    ("one", "other"), [("Straße", "STRASSE"), ("É", "e\u0301"), ("README", "readme")]
)
def test_twins_fold_alike(one: str, other: str) -> None:
    assert names.fold(one) == names.fold(other)


async def test_C01_case_twins_are_not_made(content: Content, uta: Caller) -> None:
    await content.write(uta, "/Readme.md", b"1")
    await content.create_folder(uta, "/Straße")
    for path in ("/README.md", "/strasse"):
        with pytest.raises(AlreadyExists):
            await content.write(uta, path, b"2")
        with pytest.raises(AlreadyExists):
            await content.create_folder(uta, path)
        with pytest.raises(AlreadyExists):
            await content.copy(uta, "/Readme.md", path, overwrite=True)
        with pytest.raises(NotFound):
            await content.stat(uta, path)
    moved = await content.move(uta, "/Readme.md", "/README.md")  # its own twin
    assert moved.path == "/README.md"


async def test_C01_both_normal_forms_name_one_thing(content: Content, uta: Caller) -> None:
    made = await content.write(uta, "/e\u0301.usd", b"1")
    assert made.path == "/\u00e9.usd"
    assert (await content.stat(uta, "/\u00e9.usd")).id == made.id
    assert (await content.stat(uta, "/e\u0301.usd")).id == made.id


async def test_C01_nothing_leaves_the_root(content: Content, uta: Caller) -> None:
    """Each door refuses, and what is refused leaves nothing behind."""
    await content.write(uta, "/a/b", b"1")
    for path in ("/a/../../etc/passwd", "/a/..", "/a/b\\..", "/\x00", "/a/b/."):
        for call in (
            content.stat(uta, path),
            content.list(uta, path),
            content.read(uta, path),
            content.write(uta, path, b"2"),
            content.create_folder(uta, path),
            content.copy(uta, "/a/b", path),
            content.copy(uta, path, "/c"),
            content.move(uta, "/a/b", path),
            content.delete(uta, path),
            content.undelete(uta, path),
            content.lock(uta, path),
        ):
            with pytest.raises(BadUrl):
                await call
        (answer,) = content.stat_many(uta, [(path, 0)])
        assert isinstance(answer, PlatformError)
        assert answer.code == "bad-url"
    page = await content.list(uta, "/", recursive=True)
    assert [entry.path for entry in page.entries] == ["/a", "/a/b"]
