"""For tests of platforms and of extensions: loop watchdog, leak checks, real servers."""

__all__: list[str] = []
