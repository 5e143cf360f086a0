"""Instances whose application is a container of an engine (Docker Engine API: Podman, Docker).

The keeper stays what it is: owner of display, sound, streamer. In place of bubblewrap it starts
`downstage.spawners.container.runner`, a small program of the standard library alone that creates
the container, hands on what it writes, waits for its end and removes it. The manager's part
(images, pulling, orphans, programs inside) is in `downstage.spawners.container.spawner` and uses
aiodocker.

Nothing is imported here, for the same reason as in the package above.
"""
