"""Live layers as data: the document that server and clients share, without any USD.

A live layer is a tree of specs whose fields are opaque bytes, changed by `ops`. Whoever applies
the same ops in the same order has the same `Document`; the server gives the order, a `Replica`
lays a client's own unconfirmed ops over it. Nothing here touches a socket or a file.
"""
