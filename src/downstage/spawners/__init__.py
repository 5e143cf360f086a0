"""Who starts instances and keeps them: the seam, the process back end, the keeper.

Nothing is imported here: the keeper is a small program of the standard library alone, and
importing it must not load the platform.
"""
