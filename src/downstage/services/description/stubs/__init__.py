"""A description as a ``.pyi``: what editors complete and type checkers check."""

from downstage.services.description.stubs.stub import write_stub

__all__ = ["write_stub"]
