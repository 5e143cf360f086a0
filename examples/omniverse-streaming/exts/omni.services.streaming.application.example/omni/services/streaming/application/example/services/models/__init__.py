"""Models of the streaming API."""
