"""``extension.toml``: read as others write it, refused with file, line and key."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import SetupError
from downstage.services.extensions.manifest import dependency_of, read_manifest, split_id

pytestmark = pytest.mark.unit

PRINTED = """\
[package]
authors = ["Name <name@email.com>"]
category = "Services"
changelog = "docs/CHANGELOG.md"
description = "Application streaming integration sample"
icon = "data/icon.png"
keywords = ["kit", "services", "application", "streaming", "example"]
readme = "docs/README.md"
repository = "https://example.com/kit-extensions/kit-streaming-service-sample"
title = "Application streaming integration sample"
version = "1.0.0"

[dependencies]
"omni.services.core" = {}
"omni.services.client" = {}
"omni.services.transport.server.http" = {}
"omni.services.transport.client.http_async" = {}

[[python.module]]
name = "omni.services.streaming.application.example"

[settings]
exts."omni.services.transport.server.http".http.enabled = true
exts."omni.services.transport.server.http".host = "0.0.0.0"
exts."omni.services.transport.server.http".port = 8011
"""


def written(tmp_path: Path, text: str, folder: str = "sample") -> Path:
    home = tmp_path / folder
    (home / "config").mkdir(parents=True)
    (home / "config" / "extension.toml").write_text(text, encoding="utf-8")
    return home


def test_the_manifest_of_the_public_streaming_api_is_read_as_printed(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, PRINTED, "kit-streaming-service-sample"))
    assert manifest.id == "kit-streaming-service-sample-1.0.0"
    assert manifest.title == "Application streaming integration sample"
    assert manifest.modules == ("omni.services.streaming.application.example",)
    assert [need.name for need in manifest.dependencies] == [
        "omni.services.core",
        "omni.services.client",
        "omni.services.transport.server.http",
        "omni.services.transport.client.http_async",
    ]
    assert manifest.settings == {
        "exts": {
            "omni.services.transport.server.http": {
                "http": {"enabled": True},
                "host": "0.0.0.0",
                "port": 8011,
            }
        }
    }


@pytest.mark.parametrize(
    ("folder", "package", "expected"),
    [
        ("hello", "", "hello-0.0.0"),
        ("hello-1.2.0", 'version = "1.2.0"', "hello-1.2.0"),
        ("hello-main", 'version = "1.0.0"', "hello-main-1.0.0"),
        ("a.b-c.d-2.0", 'version = "2.0"', "a.b-c.d-2.0"),
        ("x", 'name = "y"\nversion = "1.0.0"\ntag = "linux"', "y-linux-1.0.0"),
        ("y-linux-1.0.0", 'version = "1.0.0"\ntag = "linux"', "y-linux-1.0.0"),
    ],
)
def test_ids(tmp_path: Path, folder: str, package: str, expected: str) -> None:
    assert read_manifest(written(tmp_path, f"[package]\n{package}\n", folder)).id == expected


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[package\n", None, "at line 1"),
        ("\n[package]\ntitle = 3\n", 3, "package.title"),
        ('[package]\ntitle = "x"\nversion = "one"\n', 3, "'one' is no version"),
        ('[package]\nname = "../x"\n', 2, "no name"),
        ('[dependencies]\n"a.b" = {version = "soon"}\n', 2, "dependencies.a.b: 'soon'"),
        ('[dependencies]\n"a.b" = 3\n', 2, "dependencies.a.b"),
        ('[python]\nmodule = "x"\n', 2, "python.module"),
        ('[[python.module]]\nname = "a/b"\n', 2, "python.module.name"),
        ("[[python.module]]\npath = 1\n", 1, "python.module"),
        ("settings = 3\n", 1, "settings"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, text: str, line: int | None, says: str
) -> None:
    with pytest.raises(SetupError) as error:
        read_manifest(written(tmp_path, text))
    place = "extension.toml" if line is None else f"extension.toml:{line}: "
    assert place in error.value.detail
    assert says in error.value.detail


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        read_manifest(tmp_path)


def test_dependencies_in_every_form(tmp_path: Path) -> None:
    text = (
        '[dependencies]\na = {}\nb = "1.0"\nc = {version = ">=2", optional = true}\n'
        'd = {version = "1.5", exact = true}\ne = {order = 3}\n'
    )
    a, b, c, d, e = read_manifest(written(tmp_path, text)).dependencies
    assert [str(need) for need in (a, b, c, d, e)] == ["a", "b 1.0", "c >=2", "d 1.5", "e"]
    assert [need.is_optional for need in (a, b, c)] == [False, False, True]
    assert str(d.versions) == "==1.5"


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert dependency_of("a", text).wanted == text.strip()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a-1.0", ("a", "1.0")),
        ("a", ("a", "")),
        ("a-b", ("a-b", "")),
        ("a-b-1.0rc1", ("a-b", "1.0rc1")),
    ],
)
def test_names_and_versions_of_folders(text: str, parts: tuple[str, str]) -> None:
    assert split_id(text) == parts


def test_a_manifest_is_never_a_crash(tmp_path: Path) -> None:
    """Odd but valid TOML is a manifest or a named refusal."""
    odd = [
        "package = 1", "package = []", "[package]\nkeywords = 'x'", "[[dependencies]]\na = 1",
        "python = 1", "[python]\nmodule = [1]", "[python]\nmodule = [{name = 3}]",
        "[package]\nauthors = 'x'", "x = 1979-05-27", "[dependencies]\na = [1]",
    ]  # fmt: skip
    for number, text in enumerate(odd):
        home = written(tmp_path, text, f"odd{number}")
        with contextlib.suppress(SetupError):
            assert read_manifest(home).name == f"odd{number}"
