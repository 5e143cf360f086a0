"""Nodes: what can run instances, how much of it, and whether it is there."""
