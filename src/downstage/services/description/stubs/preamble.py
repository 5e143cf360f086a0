"""What stands at the beginning of every stub: the parts that no service changes."""

from __future__ import annotations

__all__ = ["BASES", "OPTIONS", "OUR_NAMES", "RESERVED"]

OPTIONS = frozenset({"__headers__", "__timeout__"})
"""Keywords that every call takes."""


RESERVED = frozenset({"Literal", "overload"})
"""Words that classes with attributes use themselves."""

OUR_NAMES = (
    "AsyncBase",
    "AsyncResource",
    "AsyncVerb",
    "Base",
    "DataclassLike",
    "Model",
    "Options",
    "PydanticLike",
    "Resource",
    "Segment",
    "StructLike",
    "Verb",
)

_TEXT = """
Segment: TypeAlias = str | int | UUID

Options = TypedDict(
    "Options",
    {"__headers__": Mapping[str, str], "__timeout__": float | None},
    total=False,
)

class PydanticLike(Protocol):
    def model_dump_json(self) -> str: ...

class DataclassLike(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]

class StructLike(Protocol):
    __struct_fields__: ClassVar[tuple[str, ...]]

Model: TypeAlias = PydanticLike | DataclassLike | StructLike

class AsyncVerb:
    def pages(self, *arguments: Any, **keywords: Any) -> AsyncIterator[Any]: ...
    def stream(self, *arguments: Any, **keywords: Any) -> AbstractAsyncContextManager[Any]: ...
    async def upload(self, *arguments: Any, **keywords: Any) -> Any: ...
    async def download(self, *arguments: Any, **keywords: Any) -> Any: ...
    def curl(self, *arguments: Any, **keywords: Any) -> str: ...

class AsyncResource:
    def ws(self, *arguments: Any, **keywords: Any) -> AbstractAsyncContextManager[Any]: ...

class AsyncBase:
    def __init__(
        self,
        uri: str,
        app: Any = ...,
        api_version: str | None = ...,
        persist_connections: bool = ...,
        raise_for_status: bool = ...,
        **options: Any,
    ) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *reason: object) -> None: ...
    def stop(self) -> None: ...
    async def stop_async(self) -> None: ...

class Verb:
    def pages(self, *arguments: Any, **keywords: Any) -> Iterator[Any]: ...
    def stream(self, *arguments: Any, **keywords: Any) -> AbstractContextManager[Any]: ...
    def upload(self, *arguments: Any, **keywords: Any) -> Any: ...
    def download(self, *arguments: Any, **keywords: Any) -> Any: ...
    def curl(self, *arguments: Any, **keywords: Any) -> str: ...

class Resource:
    def ws(self, *arguments: Any, **keywords: Any) -> AbstractContextManager[Any]: ...

class Base:
    def __init__(
        self,
        uri: str,
        app: Any = ...,
        api_version: str | None = ...,
        persist_connections: bool = ...,
        raise_for_status: bool = ...,
        **options: Any,
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *reason: object) -> None: ...
    def stop(self) -> None: ...
"""
BASES = _TEXT.split("\n")
