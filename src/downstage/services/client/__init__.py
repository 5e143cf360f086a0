"""Clients of services: paths as attributes, the same in this process and across a network."""

from downstage.services.client.client import AsyncClient

__all__ = ["AsyncClient"]
