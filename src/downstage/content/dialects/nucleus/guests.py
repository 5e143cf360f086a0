"""Room for those who have not said who they are: so much in all, and less for one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from downstage.kernel.errors import Unavailable

__all__ = ["Guests"]


class Guests:
    """Counts them.

    Args:
        most: of all.
        most_of_one: of one network address, so that one alone does not keep all others out.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._by_address = Counter[str]()

    @contextmanager
    def seat(self, address: str) -> Generator[None]:
        """A place for as long as the block lasts.

        Raises:
            Unavailable: there is none.
        """
        if self._by_address.total() >= self._most or self._by_address[address] >= self._most_of_one:
            raise Unavailable("Too many sockets wait to sign in.", retry_after_s=5)
        self._by_address[address] += 1
        try:
            yield
        finally:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
