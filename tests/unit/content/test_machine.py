"""The tree against a model of it made of dictionaries, in random walks."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from downstage.content import quota
from downstage.content.model import ANY, Caller, Condition
from downstage.content.service import Content, open_content
from downstage.kernel import errors
from downstage.kernel.clock import ManualClock

pytestmark = pytest.mark.unit

UTA = Caller("u-1", "Uta", client_id="c-uta")
BEN = Caller("u-2", "Ben", client_id="c-ben")

NAMES = st.sampled_from(["a", "b", "B"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
BODIES = st.sampled_from([b"", b"1", b"22", b"4444", b"x" * 70_000])
CALLERS = st.sampled_from([UTA, BEN])


@dataclass(eq=False)
class Thing:
    body: bytes | None
    """None: a folder."""
    inside: dict[str, Thing] = field(default_factory=dict)
    gone: list[tuple[str, Thing]] = field(default_factory=list)
    past: list[bytes] = field(default_factory=list)
    """Checkpoints."""
    fresh: bool = False
    """Whether the present content is a checkpoint."""
    lock: Caller | None = None

    @property
    def is_folder(self) -> bool:
        return self.body is None

    def all(self) -> list[Thing]:
        return [self, *(each for one in self.inside.values() for each in one.all())]


class Model:
    """What the rules say, told a second time."""

    def __init__(self) -> None:
        self.root = Thing(None)

    def way(self, path: str) -> tuple[list[Thing], list[str]]:
        things, names = [self.root], path[1:].split("/")
        for depth, name in enumerate(names):
            if name not in things[-1].inside:
                return things, names[depth:]
            things.append(things[-1].inside[name])
        return things, []

    def find(self, path: str) -> list[Thing]:
        things, missing = self.way(path)
        if missing:
            raise errors.NotFound("")
        return things

    def unlocked(self, things: list[Thing], caller: Caller, *, below: bool = False) -> None:
        for thing in [*things, *(things[-1].all() if below else ())]:
            if thing.lock not in {None, caller}:
                raise errors.Locked("")

    def make(self, things: list[Thing], names: list[str]) -> Thing:
        """Folders for all names but the last, which must be free."""
        folder = things[-1]
        if not folder.is_folder:
            raise errors.WrongType("")
        if names[0].lower() in {name.lower() for name in folder.inside}:
            raise errors.AlreadyExists("")
        for name in names[:-1]:
            folder.inside[name] = Thing(None)
            folder = folder.inside[name]
        return folder

    def put(self, caller: Caller, path: str, body: bytes, absent: bool, message: str) -> None:
        things, missing = self.way(path)
        if not missing and things[-1].is_folder:
            raise errors.WrongType("")
        if missing and not things[-1].is_folder:
            raise errors.WrongType("")
        if absent and not missing:
            raise errors.VersionMismatch("")
        self.unlocked(things, caller)
        if missing:
            folder = self.make(things, missing)
            folder.inside[missing[-1]] = Thing(body)
            things = self.find(path)
        file = things[-1]
        file.body, file.fresh = body, bool(message)
        if message:
            file.past.append(body)

    def folder(self, caller: Caller, path: str) -> None:
        things, missing = self.way(path)
        if not missing:
            raise errors.AlreadyExists("")
        self.unlocked(things, caller)
        self.make(things, missing).inside[missing[-1]] = Thing(None)

    def pair(self, source: str, target: str) -> tuple[list[Thing], list[Thing], list[str]]:
        here = self.find(source)
        there, missing = self.way(target)
        if here[-1] in there and (here[-1].is_folder or not missing):
            raise errors.SourceIsTarget("")
        return here, there, missing

    def over(self, thing: Thing, onto: Thing, overwrite: bool) -> None:
        if not overwrite or (not thing.is_folder and onto.is_folder):
            raise errors.AlreadyExists("")
        if thing.is_folder and not onto.is_folder:
            raise errors.WrongType("")

    def copy(self, caller: Caller, source: str, target: str, overwrite: bool) -> None:
        here, there, missing = self.pair(source, target)
        self.unlocked(there, caller)
        if missing:
            self.make(there, missing).inside[missing[-1]] = duplicate(here[-1])
            return
        self.over(here[-1], there[-1], overwrite)
        if here[-1].is_folder and there[-1] in here:
            raise errors.SourceIsTarget("")
        self.merge(caller, here[-1], there)

    def merge(self, caller: Caller, thing: Thing, there: list[Thing]) -> None:
        onto = there[-1]
        if not thing.is_folder:
            onto.body, onto.fresh = thing.body, False
            return
        for name, one in sorted(thing.inside.items()):
            if name in onto.inside:
                self.unlocked([*there, onto.inside[name]], caller)
                self.over(one, onto.inside[name], overwrite=True)
                self.merge(caller, one, [*there, onto.inside[name]])
            elif name.lower() in {each.lower() for each in onto.inside}:
                raise errors.AlreadyExists("")
            else:
                onto.inside[name] = duplicate(one)

    def move(self, caller: Caller, source: str, target: str, overwrite: bool) -> None:
        here, there, missing = self.pair(source, target)
        self.unlocked(here, caller, below=True)
        name = source.rpartition("/")[2]
        if missing:
            self.unlocked(there, caller)
            twin = here[-2] is there[-1] and missing[0].lower() == name.lower()
            if twin and len(missing) == 1:
                del here[-2].inside[name]
            folder = self.make(there, missing)
        else:
            self.over(here[-1], there[-1], overwrite)
            if there[-1] in here:  # what would be replaced holds it
                raise errors.SourceIsTarget("")
            self.delete(caller, target)
            folder = there[-2]
        here[-2].inside.pop(name, None)
        folder.inside[target.rpartition("/")[2]] = here[-1]

    def delete(self, caller: Caller, path: str) -> None:
        things = self.find(path)
        self.unlocked(things, caller, below=True)
        name = path.rpartition("/")[2]
        del things[-2].inside[name]
        things[-2].gone.append((name, things[-1]))
        for thing in things[-1].all():
            thing.lock = None

    def undelete(self, caller: Caller, path: str) -> None:
        things, missing = self.way(path)
        if not missing:
            raise errors.AlreadyExists("")
        found = [n for n, (name, _) in enumerate(things[-1].gone) if name == missing[0]]
        if len(missing) > 1 or not found:
            raise errors.NotFound("")
        self.unlocked(things, caller)
        if missing[0].lower() in {name.lower() for name in things[-1].inside}:
            raise errors.AlreadyExists("")
        name, thing = things[-1].gone.pop(found[-1])
        things[-1].inside[name] = thing

    def checkpoint(self, caller: Caller, path: str, force: bool) -> None:
        things = self.find(path)
        file = things[-1]
        if file.body is None:
            raise errors.WrongType("")
        self.unlocked(things, caller)
        if force or not file.fresh:
            file.past.append(file.body)
            file.fresh = True

    def restore(self, caller: Caller, path: str, number: int) -> None:
        things = self.find(path)
        file = things[-1]
        if file.body is None:
            raise errors.WrongType("")
        self.unlocked(things, caller)
        if number > len(file.past):
            raise errors.NotFound("")
        file.body, file.fresh = file.past[number - 1], True
        file.past.append(file.body)

    def lock(self, caller: Caller, path: str) -> None:
        things = self.find(path)
        self.unlocked(things, caller, below=True)
        things[-1].lock = caller

    def unlock(self, caller: Caller, path: str) -> None:
        thing = self.find(path)[-1]
        if thing.lock is None:
            raise errors.NotFound("")
        self.unlocked([thing], caller)
        thing.lock = None

    def told(self) -> list[tuple[str, int, str]]:
        """Path, size and holder of the lock of everything, each folder before what it holds."""

        def below(base: str, folder: Thing) -> list[tuple[str, int, str]]:
            found = []
            for name, thing in sorted(folder.inside.items()):
                lock = thing.lock.name if thing.lock else ""
                found.append((base + name, len(thing.body or b""), lock))
                found += below(f"{base}{name}/", thing)
            return found

        return below("/", self.root)


def duplicate(thing: Thing) -> Thing:
    return Thing(thing.body, {name: duplicate(one) for name, one in thing.inside.items()})


class Walk(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
        self.clock = ManualClock()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.seq = 0
        self.content: Content = self.run(open_content(self.folder, clock=self.clock))
        self.run(self.content.list(UTA, "/"))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    def both(self, expect: Callable[[], None], act: Coroutine[Any, Any, Any]) -> None:
        """The same outcome here as there; a refusal changes nothing."""
        before = self.model.told()
        expected = None
        try:
            expect()
        except errors.PlatformError as error:
            expected = type(error)
        self.clock.advance(0.001)
        found = None
        try:
            self.run(act)
        except errors.PlatformError as error:
            found = type(error)
        assert found is expected
        if expected is not None and self.model.told() != before:
            pytest.fail("the model changed at a refusal")

    @rule(
        caller=CALLERS,
        path=PATHS,
        body=BODIES,
        absent=st.booleans(),
        message=st.sampled_from(["", "", "why"]),
    )
    def write(self, caller: Caller, path: str, body: bytes, absent: bool, message: str) -> None:
        condition = Condition(if_none_match_any=True) if absent else ANY
        self.both(
            lambda: self.model.put(caller, path, body, absent, message),
            self.content.write(caller, path, body, condition=condition, message=message),
        )

    @rule(caller=CALLERS, path=PATHS)
    def create_folder(self, caller: Caller, path: str) -> None:
        self.both(
            lambda: self.model.folder(caller, path),
            self.content.create_folder(caller, path, parents=True),
        )

    @rule(caller=CALLERS, source=PATHS, onto=PATHS, overwrite=st.booleans())
    def copy(self, caller: Caller, source: str, onto: str, overwrite: bool) -> None:
        self.both(
            lambda: self.whole(self.model.copy, caller, source, onto, overwrite),
            self.content.copy(caller, source, onto, overwrite=overwrite),
        )

    def whole(self, act: Callable[..., None], *arguments: Any) -> None:
        """A merge that fails half-way leaves the model as it was."""
        before = deepcopy(self.model.root)
        try:
            act(*arguments)
        except errors.PlatformError:
            self.model.root = before
            raise

    @rule(caller=CALLERS, source=PATHS, onto=PATHS, overwrite=st.booleans())
    def move(self, caller: Caller, source: str, onto: str, overwrite: bool) -> None:
        self.both(
            lambda: self.whole(self.model.move, caller, source, onto, overwrite),
            self.content.move(caller, source, onto, overwrite=overwrite),
        )

    @rule(caller=CALLERS, path=PATHS)
    def delete(self, caller: Caller, path: str) -> None:
        self.both(lambda: self.model.delete(caller, path), self.content.delete(caller, path))

    @rule(caller=CALLERS, path=PATHS)
    def undelete(self, caller: Caller, path: str) -> None:
        self.both(lambda: self.model.undelete(caller, path), self.content.undelete(caller, path))

    @rule(caller=CALLERS, path=PATHS, force=st.booleans())
    def checkpoint(self, caller: Caller, path: str, force: bool) -> None:
        self.both(
            lambda: self.model.checkpoint(caller, path, force),
            self.content.checkpoint(caller, path, "why", force=force),
        )

    @rule(caller=CALLERS, path=PATHS, number=st.integers(1, 3))
    def restore(self, caller: Caller, path: str, number: int) -> None:
        self.both(
            lambda: self.model.restore(caller, path, number),
            self.content.restore(caller, path, number),
        )

    @rule(caller=CALLERS, path=PATHS)
    def lock(self, caller: Caller, path: str) -> None:
        self.both(
            lambda: self.model.lock(caller, path), self.content.lock(caller, path, lease_s=80_000)
        )

    @rule(caller=CALLERS, path=PATHS)
    def unlock(self, caller: Caller, path: str) -> None:
        self.both(lambda: self.model.unlock(caller, path), self.content.unlock(caller, path))

    @rule()
    def restart(self) -> None:
        self.run(self.content.close())
        self.content = self.run(open_content(self.folder, clock=self.clock))

    @invariant()
    def the_tree_is_that_of_the_model(self) -> None:
        page = self.run(self.content.list(UTA, "/", recursive=True))
        assert [(e.path, e.size, e.locked_by) for e in page.entries] == self.model.told()
        assert page.seq >= self.seq
        self.seq = page.seq
        for entry in page.entries:
            assert self.run(self.content.stat(UTA, entry.path)) == entry
        with self.content.database.read() as db:
            for node, size, nodes in db.execute("SELECT node, bytes, nodes FROM folder"):
                assert (size, nodes) == tuple(quota.recount(db, node))

    @invariant()
    def contents_are_those_of_the_model(self) -> None:
        for path, _, _ in self.model.told():
            file = self.model.find(path)[-1]
            if file.body is None:
                continue
            past = self.run(self.content.checkpoints(UTA, path))
            assert [v.size for v in reversed(past)] == [len(body) for body in file.past]
            assert self.run(self.body(path)) == file.body

    async def body(self, path: str) -> bytes:
        async with await self.content.read(UTA, path) as reading:
            return await reading.read()

    def teardown(self) -> None:
        self.run(self.content.close())
        self.runner.close()
        shutil.rmtree(self.folder)


TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
