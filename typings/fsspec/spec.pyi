"""What we call of fsspec.spec; half of it is made at run time."""

from io import BytesIO
from typing import Any, ClassVar

class AbstractFileSystem:
    protocol: ClassVar[Any]
    root_marker: str
    cachable: bool
    def info(self, path: str, **kwargs: Any) -> dict[str, Any]: ...
    def exists(self, path: str, **kwargs: Any) -> bool: ...
    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes: ...
    def pipe_file(self, path: str, value: bytes, mode: str = ..., **kwargs: Any) -> None: ...

class AbstractBufferedFile:
    fs: Any
    path: str
    buffer: BytesIO
    def __init__(
        self, fs: AbstractFileSystem, path: str, mode: str = ..., **kwargs: Any
    ) -> None: ...
