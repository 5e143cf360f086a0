"""Instances on another machine, of which nothing is needed but a container engine.

There a **node container** is kept (`downstage.spawners.remote.node`), made from an image that holds
Downstage. It is that machine's half of a node: it has the engine's own socket, and in it runs what
runs on a manager's own machine, unchanged: keepers, streamers, `ContainerSpawner`. The manager
opens a stream into it by the engine's exec; what a spawner and its handles offer goes over that
stream (`frames`, `line`, `wire`), answered by `server` and asked for by `spawner` and `handle`.

Nothing is imported here, for the same reason as in the package above.
"""
