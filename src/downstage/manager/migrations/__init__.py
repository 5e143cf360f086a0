"""Schema revisions of the manager's database."""
