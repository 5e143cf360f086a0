"""The Anbox Stream Gateway's API on our sessions: REST under ``/1.0``, shares, signalling."""
