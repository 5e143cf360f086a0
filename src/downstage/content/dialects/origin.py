"""The content origin: users' files as browsers show them, apart from everything else.

It has a port of its own, so that what users stored is another origin than our pages: no cookie of
ours comes here, and none is set. Only a signed link opens a file, and only the one it was made for.
What a browser may run is handed over as a download.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.types import Receive, Scope, Send

from downstage.content.dialects.addresses import header_of, path_of, query_of
from downstage.content.dialects.http import part_of
from downstage.content.dialects.signing import Signer
from downstage.content.dialects.transfer import send_rest
from downstage.content.directory import Callers, is_person
from downstage.content.model import Access, Caller, Entry, Reach
from downstage.content.service import Content
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Forbidden, PlatformError, RangeNotSatisfiable, WrongType
from downstage.kernel.logging import get_logger
from downstage.services.fronts import TEMPLATE
from downstage.services.refusal import answer

__all__ = ["SHOWN", "Links", "Origin"]

SHOWN = {
    "png": b"image/png",
    "jpg": b"image/jpeg",
    "jpeg": b"image/jpeg",
    "webp": b"image/webp",
    "gif": b"image/gif",
    "mp4": b"video/mp4",
    "webm": b"video/webm",
    "mp3": b"audio/mpeg",
    "ogg": b"audio/ogg",
    "wav": b"audio/wav",
}
"""What is shown: pixels and sound. Not SVG, HTML, XML or PDF: those can hold programs."""
DOWNLOAD = b"application/octet-stream"
POLICY = b"sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
ALWAYS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", POLICY),
    # The link is what opens it: whoever has one may embed it, our own pages first.
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"accept-ranges", b"bytes"),
)
READING = ("GET", "HEAD")
MAX_DIGITS = 16
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says."""

    path: str
    checkpoint: int
    expires: int
    tenant: str
    subject: str
    may: int

    def parts(self, method: str) -> tuple[str, ...]:
        """What is signed, each in its place."""
        numbers = (str(self.checkpoint), str(self.expires), str(self.may))
        return ("file", method, self.path, *numbers, self.tenant, self.subject)


class Links:
    """Makes links and reads them.

    Args:
        signer: of this service.
        clock: of the platform.
        base: address of the content origin.
        longest_s: how long a link counts at most.
    """

    def __init__(self, signer: Signer, clock: Clock, base: str, longest_s: float) -> None:
        self._signer = signer
        self._clock = clock
        self._base = base.rstrip("/")
        self._longest_s = longest_s

    async def open(
        self,
        content: Content,
        caller: Caller,
        path: str,
        checkpoint: int,
        lifetime_s: float | None,
    ) -> tuple[str, int]:
        """As `make`, of a file that *caller* may read.

        Raises:
            NotFound: there is none.
            WrongType: it is no file.
            Forbidden: the caller's token has bounds: it ends with its instance, and so must all
                that it opens.
        """
        if caller.reach is not None:
            raise Forbidden("A token of an instance makes no links.")
        entry = await content.stat(caller, path, checkpoint=checkpoint)
        if entry.kind != "file":
            raise WrongType("A link opens a file.")
        return self.make(caller, entry.path, checkpoint, lifetime_s)

    def make(
        self, caller: Caller, path: str, checkpoint: int, lifetime_s: float | None
    ) -> tuple[str, int]:
        """A URL that opens *path* for whoever has it, as *caller* may read it; and until when."""
        lifetime = min(lifetime_s or self._longest_s, self._longest_s)
        expires = math.ceil(self._clock.now().timestamp() + lifetime)
        link = Link(path, checkpoint, expires, caller.tenant, caller.subject, int(caller.may))
        fields = {
            "c": str(checkpoint),
            "e": str(expires),
            "m": str(link.may),
            "t": link.tenant,
            "w": link.subject,
            "s": self._signer.sign(*link.parts("GET")),
        }
        return f"{self._base}{quote(path)}?{urlencode(fields)}", expires

    def read(self, method: str, path: str, raw_query: bytes) -> Link:
        """What the link says.

        Raises:
            Forbidden: it is none of ours, was changed, or has expired; which is not told.
        """
        refused = Forbidden("This link does not count. Ask for a new one.")
        try:
            query = query_of(raw_query)
        except PlatformError as error:
            raise refused from error
        numbers = [query.get(name, "") for name in "cem"]
        if not all(n.isascii() and n.isdecimal() and len(n) <= MAX_DIGITS for n in numbers):
            raise refused
        checkpoint, expires, may = map(int, numbers)
        tenant, subject = query.get("t", ""), query.get("w", "")
        link = Link(path, checkpoint, expires, tenant, subject, may)
        signed = "GET" if method in READING else method
        if not self._signer.is_signed(query.get("s", ""), *link.parts(signed)):
            raise refused
        if expires <= self._clock.now().timestamp():
            raise refused
        return link


class Origin:
    """The application.

    Args:
        content: the service.
        callers: knows groups.
        links: reads links.
        pages: origins of our own pages, which may read what they embed.
        idle_s: how long a transfer may stand still.

    Attributes:
        refused: links that did not count.
    """

    def __init__(
        self,
        content: Content,
        callers: Callers,
        links: Links,
        *,
        pages: frozenset[str],
        idle_s: float,
    ) -> None:
        self.refused = Counter[str]()
        self._content = content
        self._callers = callers
        self._links = links
        self._pages = pages
        self._idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope[TEMPLATE] = "(origin)"
        try:
            await self._answer(scope, receive, send)
        except PlatformError as error:
            self.refused[error.code] += 1
            response = answer(error, scope.get("request_id"))
            response.raw_headers.extend(ALWAYS)
            if isinstance(error, RangeNotSatisfiable):
                size = error.context.get("size", 0)
                response.headers["content-range"] = f"bytes */{size}"
            await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_of(scope, "")
        link = self._links.read(scope["method"], path, scope["query_string"])
        caller = await self._caller(link)
        headers = scope["headers"]
        async with await self._content.read(
            caller, link.path, checkpoint=link.checkpoint
        ) as reading:
            entry = reading.entry
            known = header_of(headers, b"if-none-match")
            fields = [*ALWAYS, *self._shared(header_of(headers, b"origin")), *_facts(entry, link)]
            if known is not None and known.strip() == f'"{entry.etag}"'.encode():
                await _send_head(send, 304, fields)
                await send({"type": "http.response.body", "body": b""})
                return
            part = part_of(headers, entry)
            start, stop = part or (0, entry.size)
            fields.append((b"content-length", str(stop - start).encode()))
            if part is not None:
                about = f"bytes {start}-{stop - 1}/{entry.size}"
                fields.append((b"content-range", about.encode()))
            await _send_head(send, 200 if part is None else 206, fields)
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            await send_rest(send, receive, reading, start, stop, idle_s=self._idle_s)

    async def _caller(self, link: Link) -> Caller:
        """Who made the link, with the groups of now, and nothing but that file."""
        people = await self._callers.directory.read(missing=link.subject)
        person = people.by_subject.get(link.subject)
        # A service, or the operator, is nobody in the directory; a person who is not has left.
        if is_person(link.subject) if person is None else person.disabled:
            raise Forbidden("This link does not count. Ask for a new one.")
        admin = Access(link.may) & Access.ADMIN
        return Caller(
            subject=link.subject,
            name=link.subject,
            tenant=link.tenant,
            groups=frozenset(person.groups) if person is not None else frozenset[str](),
            may=Access.READ | admin,
            reach=(Reach(link.path, Access.READ),),
        )

    def _shared(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        if origin is None or origin.decode("latin-1").lower() not in self._pages:
            return [(b"vary", b"origin")]
        return [(b"vary", b"origin"), (b"access-control-allow-origin", origin)]


def _facts(entry: Entry, link: Link) -> list[tuple[bytes, bytes]]:
    shown = SHOWN.get(entry.path.rpartition(".")[2].lower())
    how = "inline" if shown is not None else "attachment"
    name = quote(entry.path.rpartition("/")[2], safe="")
    return [
        (b"content-type", shown or DOWNLOAD),
        (b"content-disposition", f"{how}; filename*=UTF-8''{name}".encode()),
        (b"etag", f'"{entry.etag}"'.encode()),
        (b"cache-control", b"private, no-cache" if not link.checkpoint else b"private"),
    ]


async def _send_head(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
