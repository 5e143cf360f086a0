"""From plain arrays to pixels: VTK off screen, read back, shown by SDL."""
