"""What a token may do with streams: its scopes at most, and of those what its bounds leave."""

from __future__ import annotations

from downstage.auth.principal import Principal
from downstage.kernel.errors import Forbidden
from downstage.streams.model import Caller, Grant, Right
from downstage.streams.names import OF_SESSIONS

__all__ = ["ALL", "caller_of"]

ALL = Right.READ | Right.WRITE | Right.RECORD | Right.ADMIN
WORDS = {
    "read": Right.READ,
    "write": Right.WRITE,
    "record": Right.RECORD,
    "admin": ALL,
}
"""Of bounds: ``write`` alone may not read, which is what a camera needs."""


def caller_of(principal: Principal) -> Caller:
    """*principal* as the rules of streams see them.

    Raises:
        Forbidden: nothing of streams is theirs.
    """
    return Caller(
        subject=principal.act or principal.subject,
        name=principal.name,
        tenant=principal.tenant,
        grants=_grants(principal),
    )


def _grants(principal: Principal) -> tuple[Grant, ...]:
    if principal.kind == "instance" and principal.session_id is not None:
        # What runs in a session says what it measures, under the session's own name.
        pattern = f"{OF_SESSIONS}{principal.session_id}.*"
        return (Grant(pattern, Right.WRITE, of_sessions=True),)
    if principal.kind in ("instance", "seat"):
        raise Forbidden("This kind of caller may not touch streams.", kind=principal.kind)
    most = _most(principal)
    if principal.streams is None:
        return (Grant("*", most, of_sessions=most is ALL),)
    bounds = ((bound.pattern, _rights(bound.rights) & most) for bound in principal.streams)
    return tuple(
        Grant(pattern, rights, of_sessions=most is ALL) for pattern, rights in bounds if rights
    )


def _most(principal: Principal) -> Right:
    if principal.may("streams:admin"):
        return ALL
    found = Right.NONE
    for word in ("read", "write", "record"):
        if principal.may(f"streams:{word}"):
            found |= WORDS[word]
    if not found:
        raise Forbidden("This needs the scope streams:read.", scope="streams:read")
    return found


def _rights(words: frozenset[str]) -> Right:
    found = Right.NONE
    for word in words:
        found |= WORDS[word]
    return found
