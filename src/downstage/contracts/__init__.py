"""What services say to each other: wire models and bus subjects, one file a service; no logic."""
