"""What administrators read and change of the data server's documents, over HTTP.

All of it needs the scope ``streams:admin``. Each writer says which version they saw: ``If-Match``
with the ETag of `GET`, or ``If-None-Match: *`` for a new document. Where it is not that version any
more, nothing is written, and the answer is 412 ``version-mismatch``.

========  ==========================================  ==========================================
verb      path                                        body → answer
========  ==========================================  ==========================================
GET       /v1/documents                               → CollectionList
GET       /v1/documents/{collection}                  → DocumentPage
GET       /v1/documents/{collection}/{id}             → the document, with its ETag
PUT       /v1/documents/{collection}/{id}             the document → as stored (201 new, 200)
DELETE    /v1/documents/{collection}/{id}             → 204
========  ==========================================  ==========================================
"""

from __future__ import annotations

from typing import Literal

from downstage.contracts.wire import Answer

__all__ = [
    "CollectionList",
    "CollectionName",
    "CollectionView",
    "DocumentPage",
    "DocumentRow",
]

CollectionName = Literal["recipes", "sess", "session"]
"""``recipes``, the kept sessions of ``/sess``, and the state of ``/sessions``."""


class CollectionView(Answer):
    """A kind of documents."""

    name: CollectionName
    title: str
    """For people."""
    count: int
    bytes: int
    """Of all documents, as JSON."""
    only_id: str | None = None
    """The one id that a document here may have, where it is one."""


class CollectionList(Answer):
    """All collections that the caller may administer."""

    items: list[CollectionView]


class DocumentRow(Answer):
    """A document of a listing."""

    id: str
    name: str
    """What people call it; empty where it does not say."""
    preview: str
    """Where its JSON begins."""
    bytes: int


class DocumentPage(Answer):
    """Documents in the order in which they were put in."""

    items: list[DocumentRow]
    next: int | None
    """`after` of the next page."""
    total: int
    """How many fit, on all pages."""
