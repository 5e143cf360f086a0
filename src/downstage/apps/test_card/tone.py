"""A sine through the sound server, to be found again at the other end."""

from __future__ import annotations

import array
import math
import os

import pygame

__all__ = ["Tone"]

_RATE = 48_000
_LEVEL = 0.3


class Tone:
    """A pure tone that can be switched on and off; silent where there is no sound server."""

    def __init__(self, hertz: int) -> None:
        """Prepare a tone of *hertz*; nothing is opened until it is switched on."""
        self.hertz = hertz
        self.problem = ""
        """Why there is no sound, in words; empty when all is well."""
        self._sound: pygame.mixer.Sound | None = None
        self._on = False

    @property
    def is_on(self) -> bool:
        """The tone is being played."""
        return self._on

    def toggle(self) -> None:
        """Start it, or stop it."""
        if self._on:
            pygame.mixer.stop()
            self._on = False
        elif self._open():
            self._on = True

    def _open(self) -> bool:
        try:
            if self._sound is None:
                self._sound = _prepare(self.hertz)
            self._sound.play(loops=-1)
        except pygame.error as error:
            self.problem = str(error)
            return False
        self.problem = ""
        return True


def _prepare(hertz: int) -> pygame.mixer.Sound:
    os.environ.setdefault("SDL_AUDIODRIVER", "pulseaudio")
    pygame.mixer.init(frequency=_RATE, size=-16, channels=2, buffer=512, allowedchanges=0)
    samples = array.array("h")
    for index in range(_RATE):  # one second holds whole waves only, so the loop has no seam
        value = round(32767 * _LEVEL * math.sin(2 * math.pi * hertz * index / _RATE))
        samples.extend((value, value))
    return pygame.mixer.Sound(buffer=samples)
