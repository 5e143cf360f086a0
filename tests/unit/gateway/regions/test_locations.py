"""Where an address is, by a file in MaxMind's format that the test itself writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstage.gateway.regions.locations import Locations
from downstage.gateway.regions.score import Place
from downstage.kernel.errors import SetupError
from downstage.testing.mmdb import write_mmdb

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

BERLIN = {"location": {"latitude": 52.52, "longitude": 13.4}, "country": {"iso_code": "DE"}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "places.mmdb"
    write_mmdb(
        path,
        {
            "203.0.113.0/24": BERLIN,
            "2001:db8::/32": {"location": {"latitude": -33.87, "longitude": 151.21}},
            "198.51.100.0/25": {"country": {"iso_code": "FR"}},
            "198.51.100.128/25": {"location": {"latitude": 200.0, "longitude": 0.0}},
        },
    )
    return path


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("203.0.113.7", Place(52.52, 13.4)),
        ("::ffff:203.0.113.7", Place(52.52, 13.4)),
        ("2001:db8::1", Place(-33.87, 151.21)),
        ("2001:db8::1%eth0", Place(-33.87, 151.21)),
        ("192.0.2.1", None),
        ("198.51.100.1", None),  # a country alone is no place
        ("198.51.100.200", None),  # degrees that there are not
        ("nobody", None),
        ("", None),
        (None, None),
    ],
)
async def test_an_address_is_found(file: Path, address: str | None, place: Place | None) -> None:
    locations = await Locations.open(file)
    assert await locations.place(address) == place
    locations.close()


async def test_without_a_file_nobody_is_anywhere() -> None:
    locations = await Locations.open(None)
    assert await locations.place("203.0.113.7") is None
    locations.close()


async def test_what_is_no_such_file_is_a_set_up_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mmdb"
    broken.write_bytes(b"nothing of the kind")
    for path in (broken, tmp_path / "absent.mmdb"):
        with pytest.raises(SetupError, match=r"gateway\.locations"):
            await Locations.open(path)
