"""Keys in a header: the simplest way to let programs in, as a dependency."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from downstage.kernel.errors import InvalidToken, SetupError, Unauthenticated

__all__ = ["ApiKeyHeader"]

HEADER = "X-API-KEY"
MAX_KEY = 1024
Check = Callable[[str], object]


class ApiKeyHeader(SecurityBase):
    """A dependency that yields the caller's key, or refuses with 401.

    Args:
        check_functions: each takes the key and says whether it accepts it, sync or async; one that
            accepts is enough. Compare with `hmac.compare_digest`, and keep digests, not keys.
        name: of the header.
    """

    def __init__(self, check_functions: Sequence[Check], *, name: str = HEADER) -> None:
        if not check_functions:
            raise SetupError(
                "An API key needs a function that checks it: check_functions is empty."
            )
        self.model = APIKey.model_validate({"in": APIKeyIn.header, "name": name})
        self.scheme_name = "api key"
        self._checks = tuple(check_functions)
        self._name = name

    async def __call__(self, connection: HTTPConnection) -> str:
        """Check the connection's key.

        Raises:
            Unauthenticated: there is none.
            InvalidToken: there are several, or none of the functions accepts it.
        """
        keys = connection.headers.getlist(self._name)
        if not keys:
            raise Unauthenticated(f"This needs a key in the header {self._name}.")
        if len(keys) > 1 or not _is_sound(keys[0]):
            raise InvalidToken("The key is not valid.")
        for check in self._checks:
            accepted = check(keys[0])
            if inspect.isawaitable(accepted):
                accepted = await accepted
            if accepted is True:
                return keys[0]
        raise InvalidToken("The key is not valid.")


def _is_sound(key: str) -> bool:
    """Whether checks may see *key*: `hmac.compare_digest` raises at text beyond ASCII."""
    return 0 < len(key) <= MAX_KEY and key.isascii()
