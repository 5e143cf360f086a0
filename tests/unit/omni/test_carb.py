"""`carb`: the log, settings by path, tokens."""

from __future__ import annotations

import re
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from downstage.omni import log
from downstage.omni.settings import ISettings
from downstage.omni.tokens import ITokens

pytestmark = [pytest.mark.unit]


@pytest.mark.parametrize(
    ("function", "level"),
    [
        (log.log_verbose, "debug"),
        (log.log_info, "info"),
        (log.log_warn, "warning"),
        (log.log_error, "error"),
        (log.log_fatal, "critical"),
    ],
)
def test_levels_and_who_said_it(function: Any, level: str) -> None:
    with structlog.testing.capture_logs() as lines:
        function("the stage is gone")
    assert lines == [
        {
            "event": "extension.logged",
            "log_level": level,
            "source": __name__,
            "text": "the stage is gone",
        }
    ]


def test_settings_by_path() -> None:
    settings = ISettings()
    assert settings.get("/exts/a.b/key") is None
    settings.set("/exts/a.b/key", 3)
    settings.set_default_int("exts/a.b/key", 4)
    settings.set_default("exts/a.b/other", [1])
    assert settings.get("exts/a.b/key") == 3
    assert settings.get("/exts/a.b") == {"key": 3, "other": [1]}
    settings.get("/exts/a.b")["key"] = 99
    settings.get("/exts/a.b/other").append(2)
    assert settings.get_settings_dictionary("/exts/a.b") == {"key": 3, "other": [1]}
    assert settings.get_settings_dictionary("/exts/a.b/key") is None
    assert settings.get("/exts/a.b/key/deeper") is None
    settings.set("/exts/a.b/key/deeper", True)
    assert settings.get("/exts/a.b/key") == {"deeper": True}
    with pytest.raises(ValueError, match="needs a name"):
        settings.set("/", 1)


@pytest.mark.parametrize(
    ("value", "text", "whole", "number", "truth"),
    [
        (None, "", 0, 0.0, False),
        ("8011", "8011", 8011, 8011.0, False),
        ("yes", "yes", 0, 0.0, True),
        ("false", "false", 0, 0.0, False),
        (2.75, "2.75", 2, 2.75, True),
        (True, "true", 1, 1.0, True),
        (0, "0", 0, 0.0, False),
        (2**60 + 1, str(2**60 + 1), 2**60 + 1, float(2**60), True),
        ([1], "[1]", 0, 0.0, True),
        ("inf", "inf", 0, float("inf"), False),
    ],
)
def test_kinds(value: Any, text: str, whole: int, number: float, truth: bool) -> None:
    settings = ISettings()
    if value is not None:
        settings.set("a", value)
    assert settings.get_as_string("a") == text
    assert settings.get_as_int("a") == whole
    assert settings.get_as_float("a") == number
    assert settings.get_as_bool("a") is truth


def test_a_host_brings_its_own_tree() -> None:
    class Tree:
        values = {"/exts/x/y": 1}  # noqa: RUF012

        def get(self, path: str) -> Any:
            return self.values.get(path)

        def set(self, path: str, value: Any) -> None:
            self.values[path] = value

    settings = ISettings()
    tree = Tree()
    settings.use(tree)
    settings.set("/exts/x/z", 2)
    assert (settings.get("/exts/x/y"), Tree.values["/exts/x/z"]) == (1, 2)
    settings.leave(Tree())
    assert settings.get("/exts/x/y") == 1, "that was another tree"
    settings.leave(tree)
    assert settings.get("/exts/x/y") is None


def test_tokens() -> None:
    tokens = ITokens()
    assert tokens.exists("temp")
    assert tokens.resolve("${temp}/x ${unknown} $temp") != "${temp}/x ${unknown} $temp"
    tokens.set_value("data", "${temp}/data")
    assert tokens.resolve("${data}") == "${temp}/data", "a value is not resolved again"
    assert tokens.remove_value("data")
    assert not tokens.remove_value("data")
    for bad in ("", "a}b", "${x}", "x" * 300):
        with pytest.raises(ValueError, match="no name"):
            tokens.set_value(bad, "1")
    for number in range(1022):
        tokens.set_value(f"t{number}", "")
    with pytest.raises(ValueError, match="tokens already"):
        tokens.set_value("one_more", "")


@given(st.text(max_size=200))
def test_texts_without_known_tokens_stay(text: str) -> None:
    tokens = ITokens()
    if not re.search(r"\$\{(temp|home)\}", text):
        assert tokens.resolve(text) == text
