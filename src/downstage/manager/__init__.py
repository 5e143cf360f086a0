"""Applications and instances of one machine: what may run, what runs, how it ended."""
