"""Bytes by their BLAKE3: in the database, in files of their own, or in packs of chunks."""
