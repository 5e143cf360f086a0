"""Things in the tree that hold neither children nor versions of their own: channels, mounts."""

from __future__ import annotations

from downstage.content import quota
from downstage.content.edit import Edit
from downstage.content.model import Access, Kind
from downstage.content.tree import Trail
from downstage.content.unseen import require_place
from downstage.kernel.errors import AlreadyExists

__all__ = ["create"]


def create(edit: Edit, path: str, kind: Kind, *, link: str = "") -> Trail:
    """Make a node at *path*, and the folders above it that are missing.

    Args:
        edit: of a caller who may write there.
        path: where nothing is yet.
        kind: of what is made.
        link: of a mount: what it shows.

    Raises:
        AlreadyExists: something is there.
        WrongType: a file lies above.
    """
    trail = edit.walk(path)
    require_place(edit, trail, Access.WRITE)
    if not trail.missing:
        raise AlreadyExists("There is something already.", path=path)
    edit.refuse_locked(trail)
    folder = edit.make_folders(Trail(trail.nodes), trail.missing[:-1])
    node = edit.insert(folder.node.id, trail.last_name, kind, link=link)
    quota.add(edit.db, folder.ids, 0, 1)
    seq = edit.change.next_seq()
    edit.touch(folder, seq)
    made = Trail((*folder.nodes, node))
    edit.record("created", made, seq)
    return made
