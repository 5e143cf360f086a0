"""Data channels of viewers, bridged to the application; `downstage.contracts.channels` says how."""
