"""A person's way in: sessions with leases, signalling, relayed frames, and the pages."""
