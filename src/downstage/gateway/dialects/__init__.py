"""Foreign and own APIs: thin translation on one domain model, no rules of their own."""
