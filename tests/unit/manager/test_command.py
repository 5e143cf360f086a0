"""Argument vectors and environments: what callers send stays data (S01)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.contracts.manager import Display
from downstage.kernel.errors import InvalidField
from downstage.manager.applications import Application, ApplicationFile
from downstage.manager.command import Stage, command_of, environment_of, find_stage

pytestmark = pytest.mark.unit


def declared(**changes: Any) -> Application:
    values = {"name": "app", "title": "App", "command": ["{python}", "-m", "app"], **changes}
    return Application(ApplicationFile.model_validate(values), Path("/apps/app"))


def vector(application: Application, stage: Stage | None = None, *arguments: str) -> list[str]:
    display = Display(width=640, height=480, fps=30)
    return list(command_of(application, stage=stage, arguments=arguments, display=display))


def test_placeholders_are_filled_item_by_item() -> None:
    application = declared(arguments=["--size", "{width}x{height}", "--fps={fps}", "{unknown}"])
    assert vector(application)[3:] == ["--size", "640x480", "--fps=30", "{unknown}"]
    assert vector(application)[0] == sys.executable


def test_without_a_stage_its_option_goes_too() -> None:
    application = declared(arguments=["--open", "{stage}", "--fast"])
    assert vector(application)[3:] == ["--fast"]
    assert vector(application, Stage("a b.usda"))[3:] == ["--open", "a b.usda", "--fast"]


def test_a_stage_is_appended_where_no_item_takes_it() -> None:
    application = declared(stage_argument=["--stage", "{stage}"])
    assert vector(application, Stage("x"))[3:] == ["--stage", "x"]
    assert vector(application)[3:] == []


def test_a_stage_is_filled_once_and_never_read_again() -> None:
    assert vector(declared(), Stage("{python}"))[3:] == ["{python}"]


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))))
def test_S01_arguments_stay_one_item_each(arguments: list[str]) -> None:
    assert vector(declared(), None, *arguments)[3:] == arguments


@pytest.mark.parametrize("argument", ["a\0b", "x" * 40_000])
def test_S01_impossible_arguments_are_refused_by_name(argument: str) -> None:
    with pytest.raises(InvalidField) as error:
        vector(declared(), None, "fine", argument)
    assert error.value.field == "arguments.1"


def test_S01_options_outside_the_list_are_refused() -> None:
    application = declared(allowed_options=["--tone"])
    assert vector(application, None, "--tone", "440", "--tone=1")[3:] == [
        "--tone",
        "440",
        "--tone=1",
    ]
    with pytest.raises(InvalidField, match="--exec"):
        vector(application, None, "--exec=/bin/sh")


@pytest.mark.parametrize(
    "name",
    [
        *("LD_PRELOAD", "ld_preload", "PATH", "PYTHONPATH", "DOWNSTAGE_TOKEN_FILE", "HOME"),
        *("XAUTHORITY", "DISPLAY", "BASH_ENV", "PULSE_SERVER", "GTK_MODULES", "a b", "", "1A"),
        *("A=B", "X\0", "PERL5LIB", "GLIBC_TUNABLES", "LD_AUDIT", "BASH_FUNC_ls%%"),
    ],
)
def test_S01_variables_of_the_system_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidField) as error:
        environment_of(declared(), {name: "x"})
    assert error.value.field.startswith("environment.")


def test_variables_outside_the_declared_list_are_refused() -> None:
    application = declared(allowed_environment=["SCENE", "VIEW_*"])
    assert environment_of(application, {"SCENE": "1", "VIEW_X": "2"}) == {
        "SCENE": "1",
        "VIEW_X": "2",
    }
    with pytest.raises(InvalidField):
        environment_of(application, {"SCENERY": "1"})


def test_a_caller_may_change_what_is_declared() -> None:
    application = declared(environment={"COLOUR": "red", "LD_LIBRARY_PATH": "/x"})
    assert environment_of(application, {"COLOUR": "blue"})["COLOUR"] == "blue"
    assert environment_of(application, {})["LD_LIBRARY_PATH"] == "/x"


@pytest.mark.parametrize(
    "stage", ["-x", "--help", "a\nb", "relative.usda", "/etc/passwd", "file:///etc/passwd"]
)
def test_S01_stages_that_are_not_to_be_opened(tmp_path: Path, stage: str) -> None:
    with pytest.raises(InvalidField) as error:
        find_stage(declared(opens_stage=True), stage, [tmp_path])
    assert error.value.field == "stage"


def test_S01_a_stage_is_never_an_option() -> None:
    with pytest.raises(InvalidField, match="dash"):
        find_stage(declared(opens_stage=True), "--exec=/bin/sh", [])


def test_a_local_stage_must_lie_in_an_allowed_folder(tmp_path: Path) -> None:
    application = declared(opens_stage=True)
    (tmp_path / "open").mkdir()
    inside = tmp_path / "open" / "a b.usda"
    inside.touch()
    (tmp_path / "secret").touch()
    (tmp_path / "open" / "link").symlink_to(tmp_path / "secret")
    allowed = [tmp_path / "open"]
    assert find_stage(application, str(inside), allowed) == Stage(str(inside), tmp_path / "open")
    url = inside.as_uri()
    assert find_stage(application, url, allowed) == Stage(str(inside), tmp_path / "open")
    for path in ("open/../secret", "open/link", "open/absent", "open"):
        with pytest.raises(InvalidField):
            find_stage(application, str(tmp_path / path), allowed)


def test_urls_are_handed_on() -> None:
    application = declared(opens_stage=True, default_stage="demo")
    assert find_stage(application, "https://x/y.usda?a=b", []) == Stage("https://x/y.usda?a=b")
    assert find_stage(application, None, []) == Stage("demo")
    assert find_stage(application, "demo", []) == Stage("demo")
    assert find_stage(declared(), None, []) is None


def test_a_stage_for_one_that_opens_none_is_refused() -> None:
    with pytest.raises(InvalidField):
        find_stage(declared(), "https://x/y.usda", [])
