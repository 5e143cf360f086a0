"""What streams speak: the data server's API (``ptg``) and our own (``v1``)."""

from __future__ import annotations
