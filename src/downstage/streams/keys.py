"""Keys in the engine: made here alone, of a caller's tenant and a name that passed the grammar.

A name holds no slash and a tenant is quoted, so no key of one tenant can be spelled by another.
Keys of one shard begin with its tag, so that one command may touch many of them.
"""

from __future__ import annotations

from urllib.parse import quote

from downstage.streams import names

__all__ = ["Keys"]


class Keys:
    """Keys of one shard.

    Args:
        tag: what the shard's keys begin with; empty where an engine is one node.
    """

    def __init__(self, tag: bytes = b"") -> None:
        self._tag = tag

    def stream(self, tenant: str, name: str) -> bytes:
        """The entries of a stream.

        Raises:
            InvalidField: *name* is none.
        """
        return self._of(tenant, b"s", names.check(name))

    def made(self, tenant: str) -> bytes:
        """Hash: streams that were appended to, and when each was made (ms)."""
        return self._of(tenant, b"made")

    def specs(self, tenant: str) -> bytes:
        """Hash: what streams are described as, as JSON."""
        return self._of(tenant, b"specs")

    def consumers(self, tenant: str) -> bytes:
        """Hash: named consumers, as JSON."""
        return self._of(tenant, b"consumers")

    def version(self, tenant: str) -> bytes:
        """Counter that grows with every change of the hashes."""
        return self._of(tenant, b"version")

    def tenants(self) -> bytes:
        """Set: tenants that have streams here, quoted."""
        return self._tag + b"ds/tenants"

    def push(self, tenant: str, name: str, key: str) -> bytes:
        """What was stored under a push's own key."""
        return self._of(tenant, b"push", names.check(name), quote(key, safe=""))

    def marker(self, process: str, lane: str) -> bytes:
        """Number of the last train of a lane that was done."""
        return self._tag + b"ds/marker/%b/%b" % (process.encode(), lane.encode())

    def bell(self, reader: str) -> bytes:
        """Stream that wakes a reader of this shard."""
        return self._tag + b"ds/bell/%b" % reader.encode()

    def lease(self, what: str) -> bytes:
        """Who does something for all processes just now."""
        return self._tag + b"ds/lease/%b" % what.encode()

    def _of(self, tenant: str, *parts: str | bytes) -> bytes:
        whole = [b"ds", quote(tenant, safe="").encode()]
        whole += [part.encode() if isinstance(part, str) else part for part in parts]
        return self._tag + b"/".join(whole)
