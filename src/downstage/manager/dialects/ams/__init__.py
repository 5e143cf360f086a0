"""Anbox Management Service's API, ``/1.0``: on the public port under ``/ams``, and on its own."""
