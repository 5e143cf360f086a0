"""What the operator's settings bound, as content takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from downstage.content.blobs.collect import GRACE_S
from downstage.content.blobs.difference import LARGE
from downstage.content.blobs.store import IDLE_S
from downstage.content.mounts.links import Rules
from downstage.content.uploads import LIFE_S
from downstage.kernel import settings

__all__ = ["Limits"]

NEVER = 1 << 62
MONTH_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    chunk_threshold: int = LARGE
    """From which a new version is stored as its differences."""
    idle_s: float = IDLE_S
    """That a sender may be silent."""
    upload_life_s: int = LIFE_S
    """That an interrupted upload waits."""
    blob_grace_s: int = GRACE_S
    """That bytes are kept which nothing names."""
    scrub_interval_s: int = MONTH_S
    """In which everything is read once; 0: never."""
    keep_deleted_s: int = MONTH_S
    """That what was deleted can be brought back."""
    keep_events: int = 100_000
    """For subscribers who come back."""
    quota_bytes: int | None = None
    """That the files of a tenant may have together; None: as administrators set it."""
    quota_nodes: int | None = None
    """Files and folders that a tenant may have."""
    mounts: Rules = field(default_factory=Rules)
    """What administrators may mount; by default nothing."""

    @classmethod
    def of(cls, section: settings.Content) -> Limits:
        """As the operator set them."""
        folders: Sequence[Path] = section.mount_folders
        return cls(
            chunk_threshold=section.chunk_threshold or NEVER,
            idle_s=section.idle_deadline.total_seconds(),
            upload_life_s=int(section.upload_expiry.total_seconds()),
            blob_grace_s=int(section.blob_grace.total_seconds()),
            scrub_interval_s=int(section.scrub_interval.total_seconds()),
            keep_deleted_s=int(section.keep_deleted.total_seconds()),
            keep_events=section.keep_events,
            quota_bytes=section.quota_bytes,
            quota_nodes=section.quota_nodes,
            mounts=Rules(folders, section.mount_hosts),
        )
