"""Applications, nodes and instances from the command line, all over the API."""
