"""An application that writes every event it gets to its output, one JSON array a line."""

from __future__ import annotations

import json
import os

os.environ["SDL_VIDEO_WINDOW_POS"] = "0,0"

import pygame


def words_of(event: pygame.event.Event) -> list[object] | None:
    """What happened; None for what is not written down."""
    match event.type:
        case pygame.KEYDOWN | pygame.KEYUP:
            return ["key", event.scancode, event.type == pygame.KEYDOWN, event.unicode]
        case pygame.MOUSEBUTTONDOWN | pygame.MOUSEBUTTONUP if event.button not in (4, 5, 6, 7):
            return ["button", event.button, event.type == pygame.MOUSEBUTTONDOWN, *event.pos]
        case pygame.MOUSEMOTION:
            return ["pointer", *event.pos]
        case pygame.TEXTINPUT:
            return ["text", event.text]
        case pygame.MOUSEWHEEL:
            return ["wheel", event.x, event.y]
        case _:
            return None


def main() -> None:
    """Show a plain picture that flickers a little, and listen."""
    pygame.display.init()
    window = pygame.display.set_mode((1280, 720), pygame.NOFRAME)
    clock = pygame.time.Clock()
    for step in range(1 << 40):
        window.fill((40, 90, 120 + step % 40))
        pygame.display.flip()
        for event in pygame.event.get():
            if (words := words_of(event)) is not None:
                print(json.dumps(words), flush=True)
        clock.tick(30)


if __name__ == "__main__":
    main()
