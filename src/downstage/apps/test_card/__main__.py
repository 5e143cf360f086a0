"""Run the test card: ``python -m downstage.apps.test_card [--size 1280x720] [--fps 60]``."""

from __future__ import annotations

import argparse
import sys
import time

import pygame

from downstage.apps.screen import Screen, end_on_signals, parse_rate, parse_size, wait_for_events
from downstage.apps.test_card.card import Card, Input
from downstage.apps.test_card.echo import start_echo
from downstage.apps.test_card.tone import Tone

__all__ = ["main"]

_WHEEL = (4, 5, 6, 7)
_LOWEST_HZ, _HIGHEST_HZ = 20, 20_000


def main(argv: list[str] | None = None) -> int:
    """Show the card until the window is closed or the program is told to end."""
    options = _parse(argv)
    end_on_signals()
    start_echo()
    screen = Screen("Downstage test card", options.size, cover=not options.windowed)
    pygame.mouse.set_visible(False)
    tone = Tone(options.tone or 440)
    try:
        _Program(screen, tone, options).run()
    finally:
        screen.close()
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="test-card", description=__doc__)
    parser.add_argument("--size", type=parse_size, default=(1280, 720), metavar="WxH")
    parser.add_argument("--fps", type=parse_rate, default=60.0, help="pictures a second, 1 to 240")
    parser.add_argument("--still", action="store_true", help="draw on input only")
    parser.add_argument("--noise", action="store_true", help="fill every picture with noise")
    parser.add_argument(
        "--tone", type=_parse_hertz, metavar="HZ", help="play a tone from the start"
    )
    parser.add_argument("--windowed", action="store_true", help="keep --size, cover nothing")
    return parser.parse_args(argv)


def _parse_hertz(text: str) -> int:
    if not _LOWEST_HZ <= int(text) <= _HIGHEST_HZ:
        raise ValueError("no one hears that")
    return int(text)


class _Program:
    """Events in, pictures out."""

    def __init__(self, screen: Screen, tone: Tone, options: argparse.Namespace) -> None:
        self._screen, self._tone = screen, tone
        self._still, self._noise = bool(options.still), bool(options.noise)
        self._interval = 1.0 / float(options.fps)
        self._input = Input()
        self._card = Card(screen.size, noise=self._noise)
        if options.tone is not None:
            self._switch_tone()

    def run(self) -> None:
        whole, due = True, time.perf_counter()
        while True:
            if self._card.size != self._screen.size:
                self._card, whole = Card(self._screen.size, noise=self._noise), True
            surface = self._screen.surface
            self._card.draw(surface, self._input, moving=not self._still, whole=whole)
            if self._still:
                events = wait_for_events()
            else:
                due = max(due + self._interval, time.perf_counter() - self._interval)
                time.sleep(max(0.0, due - time.perf_counter()))
                events = pygame.event.get()
            if any(event.type == pygame.QUIT for event in events):
                return
            drawn_over = [self._take(event) for event in events]
            whole = any(drawn_over)

    def _take(self, event: pygame.event.Event) -> bool:
        match event.type:
            case pygame.MOUSEMOTION:
                self._input.pointer = event.pos
            case pygame.MOUSEBUTTONDOWN if event.button not in _WHEEL:
                self._input.presses += 1
                self._input.pointer = event.pos
            case pygame.KEYDOWN:
                self._input.presses += 1
                self._input.key = pygame.key.name(event.key) or event.unicode
                if event.key == pygame.K_t:
                    self._switch_tone()
            case _:
                return self._screen.handle(event)
        return False

    def _switch_tone(self) -> None:
        self._tone.toggle()
        if self._tone.problem:
            print(f"no sound: {self._tone.problem}", file=sys.stderr)  # noqa: T201
        playing = f"{self._tone.hertz} Hz" if self._tone.is_on else ""
        self._input.sound = "no sound" if self._tone.problem else playing


if __name__ == "__main__":
    sys.exit(main())
