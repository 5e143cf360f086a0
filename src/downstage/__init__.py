"""Downstage: any application, on stage in a browser, from your own machine."""

__all__ = ["__version__"]

__version__ = "0.5.0"
