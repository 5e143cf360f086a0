"""What a copy or a sync would do, from two listings."""

from __future__ import annotations

import pytest

from downstage.cli.content.plan import compare, needed_folders
from downstage.client.places import Place
from downstage.client.providers.provider import Found, found_in
from downstage.client.types import ItemFlags, ListEntry
from downstage.kernel.errors import BadUrl

pytestmark = pytest.mark.unit

ROOT = Place.of("omniverse://localhost/a")
FILE = ItemFlags.READABLE_FILE
FOLDER = ItemFlags.CAN_HAVE_CHILDREN


def tree(**items: ItemFlags | str) -> dict[tuple[str, ...], Found]:
    """``a__b=FILE``; a text: why it is refused; ``link``: a link to a folder."""
    found = dict[tuple[str, ...], Found]()
    for key, what in items.items():
        parts = tuple(key.split("__"))
        flags = what if isinstance(what, ItemFlags) else FOLDER
        entry = ListEntry(relative_path=parts[-1], flags=flags)
        refused = what if isinstance(what, str) and what != "link" else ""
        found[parts] = Found(ROOT, entry, parts, is_link=what == "link", refused=refused)
    return found


def test_new_and_gone() -> None:
    draft = compare(
        tree(a=FILE, b=FOLDER, b__c=FILE, d=FOLDER),
        tree(a=FILE, x=FOLDER, x__y=FILE, x__z=FOLDER, w=FILE),
    )
    assert draft.new == [("b", "c")]
    assert draft.folders == [("b",), ("d",)]
    assert [pair.parts for pair in draft.both] == [("a",)]
    assert draft.gone == [("w",), ("x",)]  # of a folder, the folder alone


def test_what_is_in_the_way_blocks_what_is_below_it() -> None:
    draft = compare(tree(a=FOLDER, a__b=FILE, c=FILE), tree(a=FILE, c=FOLDER, c__d=FILE))
    assert [name for name, _ in draft.problems] == ["a", "c"]
    assert draft.new == []
    # Only the source lacks it, and it lies in what the source calls a file: sync may remove it.
    assert draft.gone == [("c", "d")]


def test_nothing_is_copied_through_a_link_of_the_target() -> None:
    draft = compare(tree(a=FOLDER, a__b=FILE), tree(a="link"))
    assert [name for name, _ in draft.problems] == ["a"]
    assert (draft.new, draft.folders) == ([], [])


def test_links_to_folders_and_things_that_are_neither_are_left_out() -> None:
    draft = compare(tree(a="link", pipe=ItemFlags(0)), {})
    assert [name for name, _ in draft.notes] == ["a", "pipe"]
    assert (draft.new, draft.folders, draft.problems) == ([], [], [])


def test_names_that_are_none_are_neither_copied_nor_deleted() -> None:
    draft = compare(tree(a="It is no name."), tree(b="It is no name."))
    assert [name for name, _ in draft.problems] == ["a"]
    assert (draft.new, draft.gone) == ([], [])


def test_folders_that_files_make_anyway_are_not_made() -> None:
    folders = [("a",), ("a", "b"), ("c",), ("c", "d"), ("e",)]
    assert needed_folders(folders, [("a", "b", "x")]) == [("c", "d"), ("e",)]


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../../x", "/etc/passwd", "a\0b"])
@pytest.mark.parametrize("base", ["omniverse://localhost/a", "/tmp/a", "file:///tmp/a", "s3://b/a"])
def test_a_listed_name_stays_in_its_folder(base: str, name: str) -> None:
    folder = Place.of(base)
    with pytest.raises(BadUrl):
        folder.child(name)
    found = found_in(folder, (), ListEntry(relative_path=name))
    assert found.refused
    assert found.place == folder


@pytest.mark.parametrize("name", ["a:b", "c%2Fd", "-rf", "a?&1", "#"])
def test_odd_names_are_one_segment(name: str) -> None:
    for base in ("omniverse://localhost/a", "/tmp/a"):
        place = Place.of(base).child(name)
        assert place.path.rpartition("/")[2] == name
        assert Place.of(place.url).path == place.path
