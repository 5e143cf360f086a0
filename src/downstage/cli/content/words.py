"""What is wrong with a command's words, and how it is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from downstage.kernel.errors import SetupError

__all__ = ["needed", "with_target"]

T = TypeVar("T")


def needed(urls: Sequence[str], what: str, example: str) -> Sequence[str]:
    """*urls* themselves.

    Raises:
        SetupError: there are none.
    """
    if not urls:
        raise SetupError(f"Name {what}, for example: downstage files {example}")
    return urls


def with_target(urls: Sequence[str], command: str) -> tuple[Sequence[str], str]:
    """Sources, and the target, which is the last.

    Raises:
        SetupError: fewer than two.
    """
    if len(urls) < 2:  # noqa: PLR2004 - from and to
        raise SetupError(
            f"Name what to {'copy' if command == 'cp' else 'move'} and where to, "
            f"for example: downstage files {command} scene.usd omniverse://localhost/Projects/"
        )
    return urls[:-1], urls[-1]
