"""Foreign and own ways to speak to the content service: thin translation, no rules of their own."""
