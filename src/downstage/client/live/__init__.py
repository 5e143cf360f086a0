"""Live layers: what several people do to one stage at the same time.

`downstage.client.usd.open` opens a stage in live mode; the functions here are those of the
published interface. Nothing of USD is loaded before a stage is.
"""

from __future__ import annotations

from downstage.client.live.layers import (
    usd_live_get_default_enabled,
    usd_live_get_latest_server_time,
    usd_live_get_mode_for_url,
    usd_live_process,
    usd_live_process_up_to,
    usd_live_set_default_enabled,
    usd_live_set_mode_for_url,
    usd_live_wait_for_pending_updates,
)

__all__ = [
    "usd_live_get_default_enabled",
    "usd_live_get_latest_server_time",
    "usd_live_get_mode_for_url",
    "usd_live_process",
    "usd_live_process_up_to",
    "usd_live_set_default_enabled",
    "usd_live_set_mode_for_url",
    "usd_live_wait_for_pending_updates",
]
