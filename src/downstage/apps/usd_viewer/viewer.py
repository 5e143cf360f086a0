"""The viewer: events in, pictures out, asleep while nothing changes."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

import pygame

from downstage.apps.screen import Screen, wait_for_events
from downstage.apps.usd_viewer.following import Follower
from downstage.apps.usd_viewer.hud import Hud, Status
from downstage.apps.usd_viewer.loading import ARRIVED, LOADED, LOADING, Loaded
from downstage.apps.usd_viewer.navigation import Drag, Grip
from downstage.apps.usd_viewer.orbit import Orbit
from downstage.apps.usd_viewer.picture import Painter
from downstage.apps.usd_viewer.playback import Playback
from downstage.apps.usd_viewer.problem import StageProblem
from downstage.apps.usd_viewer.scene.reader import Scene

__all__ = ["Viewer"]

_SLOWEST_S = 1 / 24
_REST_S = 0.12


class Viewer:
    """One stage in one window."""

    def __init__(self, screen: Screen, *, fps: float, name: str) -> None:
        """Show that *name* is being opened; at most *fps* pictures a second."""
        self._screen = screen
        self._interval = 1.0 / fps
        self._hud = Hud(screen.size)
        self._status = Status(name)
        self._painter: Painter | None = None
        self._scene: Scene | None = None
        self._problem: StageProblem | None = None
        self._follower: Follower | None = None
        self._playback = Playback(0, 0, 24)
        self._orbit = self._home = Orbit((0, 0, 0), 1, 0, 0, (0, 1, 0))
        self._selected: int | None = None
        self._camera: int | None = None
        self._drag: Drag | None = None
        self._help = False
        self._dirty = True
        self._moved_at = 0.0
        self._shown: deque[float] = deque(maxlen=120)

    def run(self) -> None:
        """Show pictures until the window is closed."""
        try:
            self._run()
        finally:
            if self._follower is not None:
                self._follower.close()

    def _run(self) -> None:
        last = due = time.perf_counter()
        while True:
            now = time.perf_counter()
            self._follow()
            self._dirty |= self._playback.advance(now - last)
            last = now
            if self._dirty:
                self._draw()
                due = max(due + self._interval, now)
            if not self._take_events(due):
                return

    def _take_events(self, due: float) -> bool:
        """Handle events until the next picture is due; False: the window is closed."""
        while True:
            wait = self._patience(due)
            events = wait_for_events(wait) if wait is None or wait > 0 else pygame.event.get()
            for event in events:
                if event.type == pygame.QUIT:
                    return False
                self._handle(event)
            busy = self._dirty or self._playback.is_playing or self._has_news()
            if not busy:
                self._rest(had_events=bool(events))
            elif time.perf_counter() >= due - 0.0005:
                return True

    def _patience(self, due: float) -> float | None:
        """How long to sleep: to the next picture, to the next refinement, or for ever."""
        now = time.perf_counter()
        if self._dirty or self._playback.is_playing or self._has_news():
            return max(0.0, due - now)
        waits = [self._moved_at + _REST_S - now] if self._can_refine() else []
        later = self._follower.patience() if self._follower else None
        waits += [] if later is None else [later]
        return max(0.0, min(waits)) if waits else None

    def _has_news(self) -> bool:
        """Somebody edited the stage, and it is time to show it."""
        return self._follower is not None and self._follower.patience() == 0

    def _can_refine(self) -> bool:
        painter = self._painter
        return self._scene is not None and painter is not None and not painter.is_refined

    def _rest(self, *, had_events: bool) -> None:
        """Nothing moves: make the picture better, step by step."""
        rested = time.perf_counter() >= self._moved_at + _REST_S
        if had_events or not rested or not self._can_refine() or self._painter is None:
            return
        self._shown.clear()
        self._painter.refine(self._screen.surface, self._orbit)
        self._lay_over()

    def _draw(self) -> None:
        surface = self._screen.surface
        if self._hud.size != surface.get_size():
            self._hud = Hud(surface.get_size())
            if self._painter:
                self._painter.resize(surface.get_size())
        self._dirty = False
        self._moved_at = time.perf_counter()
        if self._scene is None or self._painter is None:
            self._draw_message(surface)
            return
        if self._playback.is_animated and not self._is_stale:
            for change in self._scene.at(self._playback.code):
                self._painter.renderer.apply(change)
        self._painter.paint(surface, self._orbit)
        self._shown.append(self._moved_at)
        self._lay_over()

    def _draw_message(self, surface: pygame.Surface) -> None:
        surface.fill((16, 15, 25))
        if self._problem:
            self._hud.paint_problem(surface, self._problem)
        else:
            note = self._status.note or "Reading the stage"
            self._hud.paint_message(surface, self._status.name, (note,))
        pygame.display.flip()

    def _lay_over(self) -> None:
        now = time.perf_counter()
        while self._shown and now - self._shown[0] > 1.0:
            self._shown.popleft()
        playback = self._playback
        self._status = replace(
            self._status,
            rate=len(self._shown) if playback.is_playing or self._drag else 0,
            code=playback.code,
            seconds=playback.seconds,
            fraction=playback.fraction,
            is_animated=playback.is_animated,
            is_playing=playback.is_playing,
        )
        self._hud.paint(self._screen.surface, self._status, with_help=self._help)
        pygame.display.flip()

    def _handle(self, event: pygame.event.Event) -> None:
        if event.type == LOADED:
            self._take_stage(event.result)
        elif event.type == LOADING:
            self._note(f"{event.count >> 20} MiB")
        elif event.type == ARRIVED:
            pass  # it woke us: `_follow` is next
        elif self._screen.handle(event):
            self._dirty = True
        elif self._scene is not None:
            self._handle_input(event)

    def _handle_input(self, event: pygame.event.Event) -> None:
        match event.type:
            case pygame.MOUSEBUTTONDOWN if event.button in (1, 2, 3) and self._drag is None:
                self._press(event.button, event.pos)
            case pygame.MOUSEMOTION if self._drag is not None:
                self._drag_to(self._drag, event.pos)
            case pygame.MOUSEBUTTONUP if self._drag and event.button == self._drag.button:
                drag, self._drag = self._drag, None
                if drag.grip is Grip.TURN and drag.is_click and event.button == 1:
                    self._select_at(event.pos)
                self._dirty = True
            case pygame.MOUSEWHEEL:
                self._look(self._orbit.zoomed(event.precise_y))
            case pygame.KEYDOWN:
                self._key(event.key)
            case _:
                pass

    def _press(self, button: int, spot: tuple[int, int]) -> None:
        grip = Grip.TURN
        if button in (2, 3) or pygame.key.get_mods() & pygame.KMOD_SHIFT:
            grip = Grip.MOVE
        if self._playback.is_animated and self._hud.timeline.collidepoint(spot) and button == 1:
            if spot[0] < self._hud.timeline.left + self._hud.unit * 2 - 4:
                self._playback.toggle()
                self._dirty = True
                return
            grip = Grip.SCRUB
            self._scrub(spot[0])
        self._drag = Drag(grip, button, spot)

    def _drag_to(self, drag: Drag, spot: tuple[int, int]) -> None:
        dx, dy = (step / self._screen.size[1] for step in drag.to(spot))
        if drag.grip is Grip.SCRUB:
            self._scrub(spot[0])
        elif dx or dy:
            turning = drag.grip is Grip.TURN
            self._look(self._orbit.turned(dx, dy) if turning else self._orbit.moved(dx, dy))

    def _scrub(self, x: int) -> None:
        self._playback.scrub(self._hud.fraction_at(x))
        self._dirty = True

    def _key(self, key: int) -> None:
        match key:
            case pygame.K_SPACE:
                self._playback.toggle()
            case pygame.K_RIGHT | pygame.K_LEFT:
                self._playback.step(1 if key == pygame.K_RIGHT else -1)
            case pygame.K_f:
                self._frame()
            case pygame.K_r:
                self._look(self._home)
                self._select(None)
                self._playback.scrub(0.0)
            case pygame.K_c:
                self._next_camera()
            case pygame.K_h:
                self._help = not self._help
            case pygame.K_ESCAPE:
                self._select(None)
            case _:
                return
        self._dirty = True

    def _look(self, orbit: Orbit) -> None:
        self._orbit = orbit
        self._dirty = True
        self._note("")

    def _note(self, text: str) -> None:
        if self._status.note != text:
            self._status = replace(self._status, note=text)
            self._dirty = True

    def _frame(self) -> None:
        if self._scene is None:
            return
        parts = None if self._selected is None else [self._scene.parts[self._selected]]
        self._look(self._orbit.fitted(self._scene.corners(parts), self._aspect()))

    def _aspect(self) -> float:
        width, height = self._screen.size
        return width / height

    def _next_camera(self) -> None:
        if self._scene is None or self._is_stale:
            return
        cameras = len(self._scene.info.cameras)
        if not cameras:
            self._note("This stage has no camera")
            return
        self._camera = 0 if self._camera is None else (self._camera + 1) % cameras
        shot = self._scene.shot(self._camera, self._playback.code)
        self._look(Orbit.from_shot(shot, self._scene.info.up, self._home.reach))
        self._note(f"Camera {shot.name}")

    def _select_at(self, spot: tuple[int, int]) -> None:
        if self._painter:
            self._select(self._painter.renderer.pick(self._painter.to_drawn(spot)))

    def _select(self, part: int | None) -> None:
        if self._painter is None or self._scene is None:
            return
        self._selected = part
        self._painter.renderer.select(part)
        path = "" if part is None else self._scene.parts[part].path
        self._status = replace(self._status, selected=path)

    @property
    def _is_stale(self) -> bool:
        """Prims of the scene may be gone: it is about to be read again."""
        return self._follower is not None and self._follower.is_stale

    def _follow(self) -> None:
        """Show what somebody edited since the last picture."""
        follower = self._follower
        if follower is None or follower.patience() != 0:
            return
        update = follower.process()
        if update.scene is not None:
            self._take_scene(update.scene)
        for change in update.changes:
            if self._painter is not None:
                self._painter.renderer.apply(change)
        if update.is_told:
            self._tell_link(follower)
        self._dirty |= bool(update.changes or update.scene or update.is_told)

    def _tell_link(self, follower: Follower) -> None:
        self._status = replace(self._status, notice=follower.notice, people=follower.people)

    def _take_stage(self, result: Loaded) -> None:
        self._dirty = True
        self._problem = result.problem
        self._follower = result.follower
        scene = result.scene
        told = result.problem.title if result.problem else scene.info.name if scene else ""
        pygame.display.set_caption(f"{told} - Downstage USD viewer")
        if self._follower is not None:
            self._tell_link(self._follower)
        if scene is not None:
            self._take_scene(scene)

    def _take_scene(self, scene: Scene) -> None:
        """Show *scene*: as its author would have it, or, read again, from where one looked."""
        before, info = self._scene, scene.info
        if before is None and not scene.parts:
            return  # as empty as before
        if self._painter is None:
            self._painter = Painter(self._screen.size, max(self._interval, _SLOWEST_S))
        self._painter.renderer.show(scene)
        self._scene, self._problem = scene, None
        self._status = replace(self._status, name=info.name)
        self._playback = self._playback.over(info.start, info.end, info.codes_per_second)
        if before is None:
            self._begin(scene)
            return
        self._camera = None if not info.cameras else self._camera
        path = self._status.selected
        paths = [part.path for part in scene.parts]
        self._select(paths.index(path) if path in paths else None)

    def _begin(self, scene: Scene) -> None:
        self._playback.toggle()
        corners, info = scene.corners(), scene.info
        self._home = Orbit.framing(corners, info.up).fitted(corners, self._aspect())
        if info.cameras:
            shot = scene.shot(0, info.start)
            self._home = Orbit.from_shot(shot, info.up, self._home.reach)
        self._orbit = self._home
