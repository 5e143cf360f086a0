"""The regions that a gateway serves: which there are, which is best for whom, and the way there."""
