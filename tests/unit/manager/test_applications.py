"""Declarations of applications: read, refused by file and key, found by name or image."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstage.kernel.errors import NotFound
from downstage.manager.applications import Catalogue, load

pytestmark = pytest.mark.unit

GOOD = 'name = "{name}"\ntitle = "T"\ncommand = ["/bin/true"]\n'


def declare(folder: Path, name: str, more: str = "", text: str | None = None) -> Path:
    (folder / name).mkdir(parents=True)
    path = folder / name / "application.toml"
    path.write_text(text if text is not None else GOOD.format(name=name) + more, encoding="utf-8")
    return path


def only_fault(catalogue: Catalogue) -> str:
    (fault,) = catalogue.faults
    return fault.reason


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ('colour = "red"', "colour: is not known"),
        ("[resources]\nmemory = 5", "resources.memory: is not known"),
        ('display = "tty"', "display"),
        ("command = []", "not TOML"),
        ("[resources]\nstart_deadline_s = 0", "resources.start_deadline_s"),
        ("x = ", "not TOML"),
    ],
)
def test_a_mistake_is_reported_by_key_and_the_others_load(
    tmp_path: Path, more: str, named: str
) -> None:
    declare(tmp_path, "good")
    bad = declare(tmp_path, "bad", more)
    found = load([tmp_path])
    assert set(found.applications) == {"good"}
    assert named in only_fault(found)
    assert found.faults[0].file == bad


def test_bytes_that_are_no_text_are_a_fault(tmp_path: Path) -> None:
    declare(tmp_path, "bad").write_bytes(b"\xff\xfe")
    assert "not TOML" in only_fault(load([tmp_path]))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    declare(tmp_path, "huge", text="#" * 300_000)
    assert "longer" in only_fault(load([tmp_path]))


def test_the_first_folder_wins_a_name(tmp_path: Path) -> None:
    declare(tmp_path / "one", "app")
    declare(tmp_path / "two", "app")
    found = load([tmp_path / "one", tmp_path / "two"])
    assert found.applications["app"].folder == (tmp_path / "one" / "app").resolve()
    assert "taken" in only_fault(found)


@pytest.mark.parametrize(
    "image",
    ["viewer", "registry:5000/team/viewer", "registry:5000/team/viewer:1.2", "viewer@sha256:00"],
)
def test_an_image_means_its_application(tmp_path: Path, image: str) -> None:
    declare(tmp_path, "app", 'images = ["viewer:2", "registry:5000/team/viewer"]')
    assert load([tmp_path]).find(image).declared.name == "app"


@pytest.mark.parametrize("image", ["-v/:/host", "", "../app", "app/x", "--privileged", "x" * 999])
def test_S01_another_image_is_not_found(tmp_path: Path, image: str) -> None:
    declare(tmp_path, "app")
    with pytest.raises(NotFound, match="No application or image"):
        load([tmp_path]).find(image)


def test_one_that_lacks_a_module_is_listed_with_its_remedy(tmp_path: Path) -> None:
    declare(tmp_path, "app", 'requires = ["json", "no_such_module"]\nmissing_hint = "get it"')
    found = load([tmp_path])
    (view,) = found.views()
    assert view.unavailable is not None
    assert "no_such_module" in view.unavailable
    assert "get it" in view.unavailable
    assert "json" not in view.unavailable
    with pytest.raises(NotFound, match="get it"):
        found.find("app")


def test_shipped_applications_are_in_order() -> None:
    import downstage

    found = load([Path(downstage.__file__).parent / "apps"])
    assert not found.faults
    assert "test-card" in found.applications
