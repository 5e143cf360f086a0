"""Routes of the example."""
