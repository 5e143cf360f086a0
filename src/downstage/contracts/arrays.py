"""Arrays as entries of streams: one form for whoever writes and whoever reads them."""

from __future__ import annotations

__all__ = ["NDARRAY", "NPY"]

NDARRAY = "application/vnd.downstage.ndarray"
"""The content type: each entry is a ``.npy`` file, which says its shape and the type of its
numbers."""

NPY = b"\x93NUMPY"
"""What such an entry begins with."""
