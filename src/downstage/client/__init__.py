"""Files, checkpoints, locks, channels and live layers of any server, by URL."""
