"""Encoded pictures and sound out of a display, input back into it.

`source` turns a display into encoded frames, `transport` carries them to a viewer,
`input` acts on the display, `audio` captures sound. Only this folder imports encoders.
"""
