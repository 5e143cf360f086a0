"""An extension that speaks the streaming API."""

from streaming_example.extension import StreamingApplicationExampleExtension

__all__ = ["StreamingApplicationExampleExtension"]
