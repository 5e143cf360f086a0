"""A black-box suite for any gateway: what clients of our APIs may rely on, each line one check."""
