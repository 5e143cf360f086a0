"""Holds entries against schemas in a process of its own, which is ended where it takes too long.

Schemas are strangers' data, and so is what they are held against. Thirty lines of a schema that
refers to itself twice at each step take hours for one entry, and who computes holds the
interpreter's lock meanwhile: in a thread of ours, all of the server would stand still.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import anyio
import anyio.abc
import anyio.to_thread
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from downstage.kernel.errors import InvalidField, Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.child import end_process, launched

__all__ = ["LONGEST_S", "Judge", "is_easy"]

PROGRAM = Path(__file__).with_name("judging.py")
LONGEST_S: Final = 2.0
"""How long one request may take: its schema compiled, and all its entries."""
START_S: Final = 20.0
EASY: Final = 1 << 24
"""Bytes of a schema times bytes of what is held against it: some milliseconds at worst."""
SMALL: Final = 16 * 1024
"""Bytes of a schema that is looked through on the loop."""
HARD: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "uniqueItems"})
"""With these more is looked at than the schema is long, or than an entry is."""
UNEVALUATED: Final = "unevaluated"
REPEATED: Final = "{"
"""In a pattern: a few letters stand for a program of any length."""
WAIT_S: Final = 10.0
"""How long a request may wait for those before it."""
HEAD: Final = 4
MAX_ANSWER: Final = 64 * 1024
OF_SCHEMA: Final = -1
NOT_HERE = "What holds entries against schemas does not answer just now."
Wrong = tuple[int, str]
log = get_logger(__name__)


class Judge:
    """One process, as long as somebody waits to be judged; requests take turns.

    Args:
        longest_s: seconds that one request may take.
    """

    def __init__(self, *, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._turn = anyio.Lock()
        self._process: anyio.abc.Process | None = None

    async def hold(self, schema: bytes, payloads: Sequence[bytes | memoryview] = ()) -> None:
        """Return if *schema* is one, and *payloads* are as it says.

        Raises:
            InvalidField: one of them is not, or it takes too long to tell.
            Unavailable: others are judged just now, or the process does not start.
        """
        if is_easy(schema, payloads):
            wrong = await anyio.to_thread.run_sync(_judged_here, schema, payloads)
        else:
            wrong = await self._judged(schema, payloads)
        if wrong is not None:
            number, why = wrong
            raise InvalidField("schema" if number == OF_SCHEMA else f"entries.{number}", why)

    async def _judged(self, schema: bytes, payloads: Sequence[bytes | memoryview]) -> Wrong | None:
        try:
            with anyio.fail_after(WAIT_S):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Unavailable(NOT_HERE, retry_after_s=1) from error
        try:
            return await self._ask(schema, payloads)
        finally:
            if not self._turn.statistics().tasks_waiting:
                await self._drop()
            self._turn.release()

    async def _drop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await end_process(process)

    async def _ask(self, schema: bytes, payloads: Sequence[bytes | memoryview]) -> Wrong | None:
        process = self._process or await self._start()
        answered = False
        try:
            with anyio.fail_after(self._longest_s):
                wrong = await _asked(process, schema, payloads)
            answered = True
        except (TimeoutError, OSError, anyio.EndOfStream, anyio.IncompleteRead) as error:
            log.warning("streams.schema_too_hard", bytes=len(schema), entries=len(payloads))
            why = "It takes too long to hold these entries against this schema."
            raise InvalidField("schema", why) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Unavailable(NOT_HERE, retry_after_s=1) from error
        finally:
            if not answered:  # whoever asks next must not get the answer to this
                await self._drop()
        return wrong

    async def _start(self) -> anyio.abc.Process:
        try:
            process = await anyio.open_process(
                launched([sys.executable, "-I", str(PROGRAM)]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(NOT_HERE, retry_after_s=1) from error
        self._process = process
        is_there = False
        try:
            with anyio.fail_after(START_S):
                await _answer(process)
            is_there = True
        except (TimeoutError, anyio.EndOfStream, anyio.IncompleteRead) as error:
            raise Unavailable(NOT_HERE, retry_after_s=1) from error
        finally:
            if not is_there:
                await self._drop()
        return process


def _judged_here(schema: bytes, payloads: Sequence[bytes | memoryview]) -> Wrong | None:
    from downstage.streams.dialects.v1.judging import judged  # few streams have a schema

    return judged(schema, payloads)


def is_easy(schema: bytes, payloads: Sequence[bytes | memoryview]) -> bool:
    """Whether it cannot take long to hold *payloads* against *schema*."""
    if len(schema) > SMALL or len(schema) * sum(map(len, payloads)) > EASY:
        return False
    waiting: list[object] = [msgspec.json.decode(schema)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            fields = cast("dict[str, object]", part)
            if any(_is_hard(name, value) for name, value in fields.items()):
                return False
            waiting += fields.values()
        elif isinstance(part, list):
            waiting += cast("list[object]", part)
    return True


def _is_hard(name: str, value: object) -> bool:
    if name == "pattern":
        return REPEATED in str(value)
    if name == "patternProperties" and isinstance(value, dict):
        return any(REPEATED in pattern for pattern in cast("dict[str, object]", value))
    return name in HARD or name.startswith(UNEVALUATED)


async def _asked(
    process: anyio.abc.Process, schema: bytes, payloads: Sequence[bytes | memoryview]
) -> Wrong | None:
    assert process.stdin is not None  # noqa: S101 - asked for a pipe
    asked = msgspec.msgpack.encode((schema, payloads))
    await process.stdin.send(len(asked).to_bytes(HEAD, "big") + asked)
    return await _answer(process)


async def _answer(process: anyio.abc.Process) -> Wrong | None:
    assert process.stdout is not None  # noqa: S101 - asked for a pipe
    stream = BufferedByteReceiveStream(process.stdout)  # one answer at a time: nothing is lost
    size = int.from_bytes(await stream.receive_exactly(HEAD), "big")
    if size > MAX_ANSWER:
        raise anyio.IncompleteRead
    answer = await stream.receive_exactly(size)
    return msgspec.msgpack.decode(answer, type=Wrong | None)
