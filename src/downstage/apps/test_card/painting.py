"""The pictures of the card: background, turning object, noise."""

from __future__ import annotations

import math
import random

import pygame

__all__ = ["Noise", "Turning", "paint_background"]

_CORNERS = {(0, 0): "#12204a", (1, 0): "#a8246a", (0, 1): "#0e7a6e", (1, 1): "#e0b054"}
_ANGLE = 4


def paint_background(size: tuple[int, int], rng: random.Random) -> pygame.Surface:
    """Four colours melting into each other under a chequered pattern, with fine grain."""
    corners = pygame.Surface((2, 2))
    for spot, colour in _CORNERS.items():
        corners.set_at(spot, colour)
    picture = pygame.transform.smoothscale(corners, size)
    width, height = size
    tile = max(16, height // 12)
    for row in range(0, height, tile):
        for column in range(row // tile % 2 * tile, width, tile * 2):
            picture.fill((22, 22, 22), (column, row, tile, tile), pygame.BLEND_RGB_ADD)
    _add_grain(picture, 12, rng)
    return picture.convert()


class Turning:
    """A textured plate in ninety angles, each painted when it is first asked for."""

    def __init__(self, side: int, rng: random.Random) -> None:
        """Paint the plate, *side* pixels on each edge."""
        self._face = _paint_plate(side, rng)
        self._face.set_colorkey("black")
        self._turned: dict[int, pygame.Surface] = {}
        self.extent = math.ceil(side * math.sqrt(2))
        """Side of a box that holds the plate at every angle."""

    def at(self, step: int) -> pygame.Surface:
        """The plate after *step* turns of four degrees; corners are transparent."""
        angle = step * _ANGLE % 360
        if angle not in self._turned:
            turned = pygame.transform.rotate(self._face, angle)
            self._turned[angle] = turned
        return self._turned[angle]


class Noise:
    """Pictures of nothing but noise: no encoder can make them small."""

    def __init__(self, size: tuple[int, int], rng: random.Random) -> None:
        """Draw enough noise for *size*."""
        self._size = size
        self._rng = rng
        self._bytes = size[0] * size[1] * 4
        self._spare = 1 << 20
        self._pool = memoryview(rng.randbytes(self._bytes + self._spare))

    def next(self) -> pygame.Surface:
        """Another cut from the pool: a million different pictures."""
        start = self._rng.randrange(0, self._spare, 4)
        cut = self._pool[start : start + self._bytes]
        return pygame.image.frombuffer(cut, self._size, "RGBX")


def _paint_plate(side: int, rng: random.Random) -> pygame.Surface:
    plate = pygame.Surface((side, side))
    tile = max(4, side // 18)
    for x in range(0, side, tile):
        for y in range(0, side, tile):
            far = math.hypot(x - side / 2, y - side / 2) / side
            shade = 235 if (x + y) // tile % 2 else 46
            colour = (shade, round(60 + 190 * abs(math.sin(far * 9))), round(40 + x * 200 / side))
            plate.fill(colour, (x, y, tile, tile))
    pygame.draw.circle(plate, "#f4f1e8", (side // 2, side // 2), side // 9)
    pygame.draw.circle(plate, "#12204a", (side // 2, side // 2), side // 14)
    _add_grain(plate, 24, rng)
    return plate.convert()


def _add_grain(picture: pygame.Surface, amount: int, rng: random.Random) -> None:
    """Fine noise, so that the picture costs an encoder what a rendered one does."""
    width, height = picture.get_size()
    grain = bytes(value * amount >> 8 for value in range(256))
    dots = rng.randbytes(width * height * 3).translate(grain)
    noise = pygame.image.frombuffer(dots, (width, height), "RGB")
    picture.blit(noise, (0, 0), special_flags=pygame.BLEND_RGB_ADD)
