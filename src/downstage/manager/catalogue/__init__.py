"""Applications of this platform: declared in folders or published, in versions and profiles."""
