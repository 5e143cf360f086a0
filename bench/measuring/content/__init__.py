"""The questions of `bench/content.py`, and the places that they are put to."""
