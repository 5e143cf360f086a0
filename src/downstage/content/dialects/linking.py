"""The socket's operation that makes a signed link."""

from __future__ import annotations

from typing import Annotated

import msgspec

from downstage.content.dialects.arguments import Count, PathArgs
from downstage.content.dialects.calls import Asked, Ops
from downstage.content.dialects.origin import Links
from downstage.content.service import Content

__all__ = ["register"]


class LinkArgs(PathArgs, frozen=True):
    """Of which file, for how long."""

    checkpoint: Count = 0
    lifetime_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


def register(ops: Ops, content: Content, links: Links) -> None:
    """Let *ops* serve it."""

    async def link(asked: Asked) -> object:
        args: LinkArgs = asked.args
        return await links.open(
            content, asked.caller, args.path, args.checkpoint, args.lifetime_s or None
        )

    ops.register("link", LinkArgs, link)
