"""A service that takes requests for pictures."""

from .extension import ViewportCaptureExtension

__all__ = ["ViewportCaptureExtension"]
