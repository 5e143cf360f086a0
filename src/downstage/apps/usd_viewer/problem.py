"""What goes wrong with a stage, in words for the person who wanted to see it."""

from __future__ import annotations

__all__ = ["StageProblem"]


class StageProblem(Exception):
    """The stage cannot be shown; the viewer puts these words on the picture and stays."""

    def __init__(self, title: str, reason: str, remedy: str) -> None:
        super().__init__(f"{title}: {reason}")
        self.title = title
        self.reason = reason
        self.remedy = remedy
