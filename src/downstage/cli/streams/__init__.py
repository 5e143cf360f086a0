"""``downstage streams``: live data from the command line."""
