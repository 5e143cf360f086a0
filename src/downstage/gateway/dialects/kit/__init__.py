"""Kit App Streaming's API: ``/cfg/apps…`` and ``/streaming/stream``, also as ``/stream``."""
