"""Addresses of the web client, and which documents are stages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from downstage.contracts.manager import Display
from downstage.gateway.dialects.omniverse import is_stage
from downstage.gateway.dialects.omniverse_models import ListQuery, OrderBy, SortBy, stamp
from downstage.gateway.dialects.webclient import WebClient, content_host
from downstage.gateway.leases import read_clock
from downstage.gateway.models import Session
from downstage.gateway.states import Policy, begin
from downstage.kernel.clock import ManualClock

pytestmark = pytest.mark.unit


def session(stage: str | None = None) -> Session:
    now = read_clock(ManualClock())
    return Session(
        id="99a13993-77d4-402b-81a8-a563858908d9",
        tenant="main",
        owner="anna",
        username="anna",
        application="viewer",
        stage=stage,
        region="local",
        home="http://h",
        display=Display(width=1920, height=1080, fps=30),
        life=begin(now, Policy(), "i-1"),
        created_at=now.wall,
        updated_at=now.wall,
    )


def test_a_code_stands_in_the_fragment_alone() -> None:
    page = WebClient("https://stage.example", media_port=50_000)
    parts = urlsplit(page.url(session("omniverse://c.example/a.usd"), code="se-cret"))
    query = parse_qs(parts.query, keep_blank_values=True)
    assert parts.fragment == "join=se-cret"
    assert "se-cret" not in parts.query
    assert query["signalingport"] == ["443"]
    assert query["mediaport"] == ["50000"]
    assert query["nucleus"] == ["c.example"]
    assert query["resolution"] == ["1920x1080"]
    assert query["fps"] == ["30"]
    assert urlsplit(page.url(session())).fragment == ""


def test_routes_name_signalling_and_media() -> None:
    page, plain = WebClient("https://x", 50_000), session()
    local = WebClient("http://127.0.0.1:8600")
    assert local.routes(plain) == "8600:TCP:NPORT:8600,0:UDP:MEDIA:0"
    assert page.routes(plain) == "443:TCP:NPORT:443,50000:UDP:MEDIA:50000"
    port = {"name": "api", "number": 8011, "type": "TCP", "host": "h", "published": 32001}
    routes = page.routes(replace(plain, ports=(port,)))
    assert routes == "443:TCP:NPORT:443,50000:UDP:MEDIA:50000,32001:TCP:NPORT:8011"


@pytest.mark.parametrize(
    ("url", "stage", "host"),
    [
        ("omniverse://c.example/Projects/a.usd", True, "c.example"),
        ("omniverse://c.example", False, "c.example"),
        ("omniverse://c.example/", False, "c.example"),
        ("c.example", False, ""),
        ("/data/a.usda", True, ""),
        ("a.usdz", True, ""),
        ("file:///data/a.usd", True, ""),
        ("http://[bad/a.usd", True, ""),
        ("", False, ""),
    ],
)
def test_stages_and_their_hosts(url: str, stage: bool, host: str) -> None:
    assert is_stage(url) is stage
    assert content_host(url) == host


def test_dates_have_an_offset() -> None:
    moment = datetime(2023, 8, 1, 12, tzinfo=UTC)
    assert stamp(moment) == "2023-08-01T12:00:00.000000+00:00"
    assert stamp(moment, fraction=False) == "2023-08-01T12:00:00+00:00"


def test_both_spellings_of_the_list_s_parameters() -> None:
    assert ListQuery().sort() is SortBy.created_at
    assert ListQuery().direction() is OrderBy.asc
    assert ListQuery.model_validate({"sort-by": "username"}).sort() is SortBy.username
    assert ListQuery.model_validate({"orderBy": "desc"}).direction() is OrderBy.desc
    assert ListQuery.model_validate({"order": "DESC"}).direction() is OrderBy.desc
