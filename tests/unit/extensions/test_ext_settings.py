"""Settings of extensions: five layers, one value, of the kind that its default is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from downstage.kernel.errors import SetupError
from downstage.kernel.exts import parse_assignment
from downstage.kernel.settings import load
from downstage.services.extensions.settings import SettingsTree
from downstage.services.extensions.unit import told
from downstage.services.extensions.values import Text, convert

pytestmark = pytest.mark.unit

DEFAULTS = {
    "exts": {
        "a.b-c": {
            "port": 8011,
            "ratio": 0.5,
            "word": "hello",
            "on": False,
            "names": ["x"],
            "free": {},
            "http": {"enabled": True, "max-size": 3},
        }
    },
    "persistent": {"other": 1},
}


def tree(
    *,
    environment: dict[str, str] | None = None,
    assignments: tuple[str, ...] = (),
    file: Path | None = None,
) -> SettingsTree:
    settings = load(file=file, environment=environment or {}, assignments=assignments)
    made = SettingsTree(settings.exts)
    made.declare("a.b-c", DEFAULTS)
    return made


def test_a_value_that_a_model_refuses_is_in_no_traceback(tmp_path: Path) -> None:
    class Secret(BaseModel):
        token: SecretStr

    file = tmp_path / "downstage.toml"
    file.write_text('exts."x".token = ["hunter2"]')
    with pytest.raises(SetupError, match="token: input should be") as caught:
        tree(file=file).model_of("x", Secret)
    assert "hunter2" not in told(caught.value)[1]


def test_each_source_overrules_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "downstage.toml"
    file.write_text('[exts."a.b-c"]\nport = 1\nword = "file"\non = true\nratio = 2\n')
    whole = json.dumps({"a.b-c": {"port": 2, "word": "whole"}})
    variables = {"DOWNSTAGE_EXTS": whole, "DOWNSTAGE_EXTS__A_B_C__PORT": "3"}
    made = tree(file=file, environment=variables, assignments=('exts."a.b-c".http.max-size=9',))
    assert made.check("a.b-c") == []
    settings = made.of("a.b-c")
    assert settings["port"] == 3
    assert settings["word"] == "whole"
    assert settings["on"] is True
    assert settings["ratio"] == 2.0
    assert settings["http.enabled"] is True
    assert settings["http"] == {"enabled": True, "max-size": 9}
    made.set("/exts/a.b-c/port", 5)
    assert settings["port"] == 5
    assert {key: type(settings[key]) for key in ("port", "ratio")} == {"port": int, "ratio": float}


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("DOWNSTAGE_EXTS__A_B_C__PORT", "9", "port", 9),
        ("DOWNSTAGE_EXTS__A_B_C__ON", "yes", "on", True),
        ("DOWNSTAGE_EXTS__A_B_C__RATIO", "1e3", "ratio", 1000.0),
        ("DOWNSTAGE_EXTS__A_B_C__WORD", "12", "word", "12"),
        ("DOWNSTAGE_EXTS__A_B_C__NAMES", "a, b", "names", ["a", "b"]),
        ("DOWNSTAGE_EXTS__A_B_C__NAMES", '["a,b"]', "names", ["a,b"]),
        ("DOWNSTAGE_EXTS__A_B_C__HTTP__MAX_SIZE", "4", "http.max-size", 4),
        ("DOWNSTAGE_EXTS__A_B_C__HTTP__ENABLED", "0", "http.enabled", False),
        ("DOWNSTAGE_EXTS__A_B_C__FREE__ANY", "[1]", "free.any", [1]),
    ],
)
def test_variables_become_what_the_default_is(
    variable: str, text: str, key: str, value: object
) -> None:
    made = tree(environment={variable: text})
    assert made.check("a.b-c") == []
    assert made.of("a.b-c")[key] == value


@pytest.mark.parametrize(
    "assignment",
    [
        'exts."a.b-c".port=77',
        "/exts/a.b-c/port=77",
        "exts.'a.b-c'.port = 77",
        '/exts/a.b-c/port="77"',
    ],
)
def test_both_forms_of_the_command_line(assignment: str) -> None:
    assert tree(assignments=(assignment.replace("= ", "="),)).of("a.b-c")["port"] == 77


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("PORT", "many", "port must be a whole number"),
        ("ON", "perhaps", "on must be true or false"),
        ("RATIO", "half", "ratio must be a number"),
        ("FREE", "[1]", "free must be a table"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_its_source(
    variable: str, text: str, says: str
) -> None:
    name = f"DOWNSTAGE_EXTS__A_B_C__{variable}"
    with pytest.raises(SetupError, match=says) as error:
        tree(environment={name: text}).check("a.b-c")
    assert name in error.value.detail
    assert 'exts."a.b-c"' in error.value.detail


def test_a_wrong_kind_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "downstage.toml"
    file.write_text('[exts."a.b-c"]\nport = true\n')
    with pytest.raises(SetupError, match=r"whole number .*settings file"):
        tree(file=file).check("a.b-c")


def test_unknown_keys_are_told(tmp_path: Path) -> None:
    file = tmp_path / "downstage.toml"
    file.write_text('[exts."a.b-c"]\nprot = 1\nhttp.enabeld = true\nfree.x = 1\n')
    made = tree(file=file, environment={"DOWNSTAGE_EXTS__A_B_C__WROD": "x"})
    assert made.check("a.b-c") == ["http.enabeld", "prot", "wrod"]


def test_what_is_given_for_nobody_is_told() -> None:
    made = tree(
        environment={"DOWNSTAGE_EXTS__NOBODY__X": "1", "DOWNSTAGE_EXTS__A_B_C__PORT": "1"},
        assignments=('exts."no.one".x=1',),
    )
    assert made.unclaimed(["a.b-c"]) == [
        'exts."no.one" (command line)',
        "environment variable DOWNSTAGE_EXTS__NOBODY__X",
    ]


class Options(BaseModel):
    port: int = 1
    speed: float = 2.0


def test_a_model_declares_settings_too() -> None:
    made = SettingsTree(load(environment={}, assignments=("/exts/x/speed=3", "/exts/x/z=1")).exts)
    assert made.check("x", Options) == ["z"]
    assert made.model_of("x", Options) == Options(port=1, speed=3.0)
    made.set("/exts/x/port", "many")
    with pytest.raises(SetupError, match=r'exts\."x": port'):
        made.model_of("x", Options)


def test_the_tree_by_path() -> None:
    made = tree()
    assert made.get("/persistent/other") == 1
    assert made.get("/exts/a.b-c/http") == {"enabled": True, "max-size": 3}
    assert made.get("/exts/nobody/x", "none") == "none"
    made.set_default("/exts/a.b-c/port", 1)
    made.set_default("/mine/x", 1)
    assert (made.get("/exts/a.b-c/port"), made.get("mine/x")) == (8011, 1)
    made.get("/exts/a.b-c/names").append("changed by nobody else")
    assert made.get("/exts/a.b-c/names") == ["x"]
    made.forget("a.b-c")
    assert made.get("/exts/a.b-c/port") == 1
    assert made.get("/persistent/other") is None
    with pytest.raises(ValueError, match="name"):
        made.set("/", 1)


def test_one_extension_may_set_another_s_defaults() -> None:
    made = SettingsTree()
    server = "omni.services.transport.server.http"
    assert made.get(f"/exts/{server}/port") == 8011
    made.declare("sample", {"exts": {server: {"host": "0.0.0.0"}}})
    assert made.get(f"/exts/{server}/host") == "0.0.0.0"
    assert made.get(f"/exts/{server}/port") == 8011


@pytest.mark.parametrize(
    "text", ["", "x", "=1", "/=1", "exts=1", "/exts/a=1", "exts.a.b", "a b=1", '"unclosed=1']
)
def test_what_sets_nothing_is_refused(text: str) -> None:
    with pytest.raises(SetupError):
        load(environment={}, assignments=(text,))


def test_the_command_line_sets_what_is_no_extension_s_too() -> None:
    assert load(environment={}, assignments=("platform.port=8700",)).platform.port == 8700
    with pytest.raises(SetupError, match=r"platform\.prot"):
        load(environment={}, assignments=("platform.prot=8700",))


@pytest.mark.parametrize(
    ("where", "text"),
    [("file", "exts = 3"), ("file", "[exts]\na = 1"), ("file", "[exts.a]\nb.c = 1\n[exst]\n")],
)
def test_exts_of_the_wrong_form(tmp_path: Path, where: str, text: str) -> None:
    file = tmp_path / f"{where}.toml"
    file.write_text(text)
    with pytest.raises(SetupError):
        load(file=file, environment={})


def test_a_variable_that_is_not_json() -> None:
    with pytest.raises(SetupError, match="DOWNSTAGE_EXTS is not JSON"):
        load(environment={"DOWNSTAGE_EXTS": "{"})


@given(st.text(max_size=60))
def test_any_assignment_is_read_or_refused(text: str) -> None:
    try:
        parts, _ = parse_assignment(text)
    except SetupError:
        return
    assert parts
    assert all(isinstance(part, str) for part in parts)


@given(st.text(max_size=20), st.sampled_from([True, 1, 1.0, "x", [], {}, None]))
def test_any_text_becomes_the_kind_of_its_default_or_is_refused(text: str, like: object) -> None:
    try:
        value = convert(Text(text), like)
    except ValueError as error:
        said = str(error)
    else:
        said = "must be " * (like is None or type(value) is type(like))
    assert said.startswith("must be ")
