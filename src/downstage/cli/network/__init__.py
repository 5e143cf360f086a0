"""Paths between people and instances: a TURN server's set-up, what is wrong with a network."""
