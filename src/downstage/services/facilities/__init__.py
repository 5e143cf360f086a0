"""Things that services share and the framework injects."""
