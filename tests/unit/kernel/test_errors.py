"""The tree of errors, as problem objects."""

from __future__ import annotations

import pytest

from downstage.kernel import errors
from downstage.kernel.errors import InvalidField, NoCapacity, NotFound, PlatformError, problem

pytestmark = pytest.mark.unit

ALL = [getattr(errors, name) for name in errors.__all__ if name != "problem"]


def test_the_drawing_shows_every_class_with_its_code_and_status() -> None:
    lines = (errors.__doc__ or "").splitlines()
    for kind in ALL:
        drawn = [line for line in lines if line.strip(" │├└─").startswith(kind.__name__ + " ")]
        assert len(drawn) == 1, kind
        assert f" {kind.code} " in drawn[0]
        assert str(kind.status) in drawn[0]


def test_codes_name_one_class_or_its_children() -> None:
    codes = [kind.code for kind in ALL]
    assert len(set(codes)) == len(codes)


def test_a_problem_says_what_rfc_9457_asks_for() -> None:
    body = problem(InvalidField("spec.user_ports", "No ports here.", given=3), request_id="r1")
    assert body == {
        "type": "urn:downstage:error:invalid-field",
        "title": "A field is not acceptable",
        "status": 422,
        "code": "invalid-field",
        "detail": "No ports here.",
        "message": "No ports here.",
        "field": "spec.user_ports",
        "given": 3,
        "request_id": "r1",
    }


def test_context_cannot_overwrite_the_members() -> None:
    body = problem(PlatformError("Truth.", status=200, code="fine", type="x"))
    assert (body["status"], body["code"]) == (500, "internal")
    assert body["type"] == "urn:downstage:error:internal"


def test_later_errors_say_when() -> None:
    assert NoCapacity("Full.", retry_after_s=7).retry_after_s == 7
    assert isinstance(NoCapacity("Full."), errors.Unavailable)


def test_an_error_reads_as_its_detail() -> None:
    assert str(NotFound("There is no session s1.", session="s1")) == "There is no session s1."
