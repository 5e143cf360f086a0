"""The command line: starts the platform and speaks to it as its operator."""
