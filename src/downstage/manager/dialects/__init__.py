"""Foreign APIs on the manager: thin translation, no rules of their own."""
