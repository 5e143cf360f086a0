"""Manifests: profiles and their promises, AMS's own form, what strangers may not say (S01)."""

from __future__ import annotations

from typing import Any

import pytest

from downstage.contracts.manager import Display, Needs
from downstage.kernel.errors import InvalidField
from downstage.manager.catalogue.manifest import ApplicationFile
from downstage.manager.catalogue.references import check_image
from downstage.manager.catalogue.rules import check_published, complete, read_manifest

pytestmark = pytest.mark.unit

TOML = b"""
name = "viewer"
title = "Viewer"
command = ["{python}", "{folder}/run.py"]
tags = ["cad"]

[profiles.small]
cpus = 2
memory_mb = 1024
max_width = 1280
max_fps = 30
environment = { QUALITY = "low" }

[profiles.large]
cpus = 8
gpu_slots = 1
pool = { size = 2, ttl_s = 600 }

[resources]
memory_mb = 512
"""
YAML = b"""
name: candy
version: "1.2"
instance-type: g4.3
tags: [game]
boot-package: com.example.candy
command: ["./candy", "--full"]
resources: {memory: 2GB, disk-size: 512MB}
services:
  - {name: web, port: 80, port-end: 81, protocols: [tcp, udp]}
hooks: {timeout: 10m}
watchdog: {disabled: true}
downstage:
  display: wayland
"""


def manifest(**changes: Any) -> ApplicationFile:
    values = {"name": "app", "title": "App", "command": ["/bin/true"], **changes}
    return ApplicationFile.model_validate(values)


def test_a_default_profile_always_exists() -> None:
    plain = manifest(resources={"memory_mb": 512})
    assert plain.profile(None) == plain.profile("default")
    assert plain.profile(None)[0] == "default"
    assert plain.profile(None)[1].needs(Needs()).memory_mb == 512
    with pytest.raises(InvalidField, match="It has: default"):
        plain.profile("large")


def test_the_first_profile_is_the_default_and_the_others_have_names() -> None:
    viewer = read_manifest("application.toml", TOML)
    assert viewer.profile(None)[0] == viewer.profile("default")[0] == "small"
    name, large = viewer.profile("large")
    assert (name, large.pool.size, large.pool.ttl_s) == ("large", 2, 600)
    assert large.memory_mb == 512  # of [resources], where the profile says nothing
    assert list(viewer.all_profiles) == ["small", "large"]


def test_needs_are_what_was_asked_for_else_the_profiles() -> None:
    _, small = read_manifest("application.toml", TOML).profile("small")
    assert small.needs(Needs()) == Needs(cpus=2, memory_mb=1024)
    assert small.needs(Needs(cpus=4, gpu_slots=1)) == Needs(cpus=4, memory_mb=1024, gpu_slots=1)


def test_a_picture_is_asked_down_to_the_profiles_limits() -> None:
    _, small = read_manifest("application.toml", TOML).profile("small")
    assert small.clamp(Display(width=3840, height=2160, fps=60)) == Display(
        width=1280, height=2160, fps=30
    )
    assert small.clamp(Display(width=64, height=64, fps=5)) == Display(width=64, height=64, fps=5)


def test_ams_manifests_mean_the_same_things() -> None:
    candy = read_manifest("manifest.yaml", YAML)
    assert (candy.name, candy.title, candy.tags) == ("candy", "candy", ["game"])
    assert candy.command == ["./candy", "--full"]
    assert candy.display == "wayland"
    assert candy.profile(None)[1].needs(Needs()) == Needs(
        cpus=4, memory_mb=2048, disk_mb=512, gpu_slots=1
    )
    assert [(port.number, port.type) for port in candy.ports] == [
        (80, "TCP"),
        (80, "UDP"),
        (81, "TCP"),
        (81, "UDP"),
    ]
    assert candy.hooks.timeout_s == 600
    assert candy.extra["boot_package"] == "com.example.candy"
    assert candy.extra["watchdog"] == '{"disabled": true}'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"name: a\ncommand: [x]\nprivileged: true", "privileged: is not known"),
        (b"name: a\ncommand: 'x; rm -rf /'", "command"),
        (b"name: a", "command"),
        (b"name: a\nname: b\ncommand: [x]", "twice"),
        (b"a: &a [x]\nname: a\ncommand: *a", "aliases"),
        (b"a: !!python/object/apply:os.system [id]", "not YAML"),
        (b"[" * 5000, "deep"),
        (b"- a", "no mapping"),
        (b"\xff", "not YAML"),
        (b"name: a\ncommand: [x]\nresources: {memory: lots}", "no size"),
        (b"name: a\ncommand: [x]\nresources: {hostPath: /}", "resources.hostPath"),
        (b"name: a\ncommand: [x]\nhooks: {timeout: 16m}", "timeout_s"),
        (b"name: a\ncommand: [x]\nhooks: {timeout: soon}", "timeout"),
        (b"name: a\ncommand: [x]\ninstance-type: z9", "instance-type"),
        (b"name: a\ncommand: [x]\nservices: [{name: a, port: 1, port-end: 65535}]", "range"),
        (b"name: a\ncommand: [x]\nservices: [{name: a, port: 70000}]", "ports.0.number"),
        (b"name: a\ncommand: [x]\ndownstage: {uid: 0}", "uid: is not known"),
        (b"name: ../../etc\ncommand: [x]", "name"),
    ],
)
def test_S01_hostile_yaml_is_refused_by_its_key(text: bytes, named: str) -> None:
    with pytest.raises(InvalidField, match=named):
        read_manifest("manifest.yaml", text)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"read_only": ["/"]}, "read_only"),
        ({"network": True}, "network"),
        ({"environment": {"LD_PRELOAD": "x"}}, "environment.LD_PRELOAD"),
        ({"environment": {"a b": "x"}}, "environment.a b"),
        (
            {"profiles": {"a": {"environment": {"PYTHONPATH": "x"}}}},
            "profiles.a.environment.PYTHONPATH",
        ),
        ({"image": "evil.example/x"}, "image"),
        ({"image": "-v/:/host"}, "image"),
        ({"image": "good.example/team/app --privileged"}, "image"),
        ({"requires": ["os.path"]}, "requires"),
    ],
)
def test_S01_a_published_manifest_may_not_say_that(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        check_published(manifest(**changes), ["good.example/team/*"], network=False)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "reference",
    [
        "good.example/team/app",
        "good.example/team/app:1.2",
        "good.example/team/deep/app@sha256:" + "0" * 64,
        "localhost:5000/x:latest",
    ],
)
def test_images_that_are_listed_may_run(reference: str) -> None:
    allowed = ["good.example/team/*", "localhost:5000/x"]
    assert check_image("image", reference, allowed) == reference


@pytest.mark.parametrize(
    "reference",
    [
        "good.example/teams/app",
        "good.example/team/../evil",
        "localhost:5000/xy",
        "good.example/team/app@sha256:0",
        "good.example/team/App",
        "good.example/team/a" + "a" * 600,
        "$(id)",
        "",
    ],
)
def test_S01_other_images_may_not(reference: str) -> None:
    with pytest.raises(InvalidField):
        check_image("image", reference, ["good.example/team/*", "localhost:5000/x"])


def test_hooks_are_found_where_they_lie_and_must_be_executable() -> None:
    files = {"hooks/pre-start": True, "hooks/post-stop": True, "hooks/other": True}
    found = complete(manifest(hooks={"post_stop": ["mine"], "timeout_s": 5}), files)
    assert found.hooks.pre_start == ["{folder}/hooks/pre-start"]
    assert found.hooks.post_stop == ["mine"]
    assert found.hooks.timeout_s == 5
    with pytest.raises(InvalidField, match="chmod"):
        complete(manifest(), {"hooks/post-start": False})
