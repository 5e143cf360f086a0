"""An extension that speaks the public streaming API."""

from .extension import StreamingApplicationExampleExtension

__all__ = ["StreamingApplicationExampleExtension"]
