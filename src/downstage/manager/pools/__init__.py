"""Warm pools: instances that were started before anybody asked for them."""
