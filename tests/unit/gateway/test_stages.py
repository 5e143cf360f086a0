"""Which addresses of stages mean this platform's own content."""

from __future__ import annotations

import pytest

from downstage.gateway.stages import OwnStages

pytestmark = pytest.mark.unit

LOCAL = OwnStages("http://127.0.0.1:8600")
PUBLIC = OwnStages("https://stage.example")


@pytest.mark.parametrize(
    ("stages", "address", "path", "folder"),
    [
        (LOCAL, "omniverse://127.0.0.1:8600/Projects/a.usd", "/Projects/a.usd", "/Projects"),
        (LOCAL, "omniverse://localhost:8600/a%20b.usd", "/a b.usd", "/"),
        (LOCAL, "downstage://127.0.0.1/x/y.usd", "/x/y.usd", "/x"),
        (LOCAL, "OMNIVERSE://me@127.0.0.1:8600/x.usd", "/x.usd", "/"),
        (PUBLIC, "omniverse://Stage.Example/x.usd", "/x.usd", "/"),
        (PUBLIC, "omniverse://stage.example:443/x.usd", "/x.usd", "/"),
    ],
)
def test_own_addresses(stages: OwnStages, address: str, path: str, folder: str) -> None:
    found = stages.find(address)
    assert found is not None
    assert (found.path, found.folder) == (path, folder)
    assert "@" not in found.host


@pytest.mark.parametrize(
    ("stages", "address"),
    [
        (LOCAL, None),
        (LOCAL, ""),
        (LOCAL, "/Projects/a.usd"),
        (LOCAL, "http://127.0.0.1:8600/a.usd"),
        (LOCAL, "omniverse://127.0.0.1:8601/a.usd"),
        (LOCAL, "omniverse://other:8600/a.usd"),
        (LOCAL, "omniverse://127.0.0.1:8600"),
        (LOCAL, "omniverse://127.0.0.1:8600/"),
        (LOCAL, "omniverse://127.0.0.1:port/a.usd"),
        (LOCAL, "omniverse://[::1/a.usd"),
        (PUBLIC, "omniverse://localhost/x.usd"),
        (PUBLIC, "omniverse://stage.example.evil.example/x.usd"),
        (PUBLIC, "omniverse://stage.example@evil.example/x.usd"),
    ],
)
def test_other_addresses(stages: OwnStages, address: str | None) -> None:
    assert stages.find(address) is None
