"""What a caller may not see looks as if nothing were there, also to who would put something there.

Without this, who may read a folder but not write in it would learn its hidden names: nothing may
be made there (403), but the names that are taken would not be found (404).
"""

from __future__ import annotations

from downstage.content.edit import Edit
from downstage.content.model import Access
from downstage.content.tree import Trail
from downstage.kernel.errors import NotFound

__all__ = ["require_place"]


def require_place(edit: Edit, trail: Trail, needed: Access) -> None:
    """As `Edit.require`, of a place where something is to be made or replaced.

    Raises:
        NotFound: it may not be read; or what is there may not, while something could be made there.
        Forbidden: it may be read, but not that; or nothing could be made there anyway.
    """
    seen = trail
    while len(seen.nodes) > 1 and not edit.access(seen) & Access.READ:
        seen = Trail(seen.nodes[:-1], (seen.node.name, *seen.missing))
    edit.require(seen, needed)
    if seen is not trail:
        raise NotFound("There is nothing at this path.", path=trail.wanted)
