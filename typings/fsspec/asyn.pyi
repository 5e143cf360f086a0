"""What we call of fsspec.asyn."""

from typing import Any

from fsspec.spec import AbstractFileSystem

class AsyncFileSystem(AbstractFileSystem):
    async def _exists(self, path: str, **kwargs: Any) -> bool: ...
