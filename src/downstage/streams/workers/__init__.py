"""Several processes for the data plane: sockets that push and pull, handed over as they open.

The first process keeps everything else: HTTP, who may come in, tickets, recordings, video, the
engine, the figures. It lets a socket in, and sends the connection itself to a worker, which
answers the request and serves the socket until it ends.
"""

from __future__ import annotations
