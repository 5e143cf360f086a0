"""``downstage files …`` and ``downstage live …``: the client on the command line."""
