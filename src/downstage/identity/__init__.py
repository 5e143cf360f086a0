"""Users, groups, tokens, signing keys, one-time tickets: the only folder that sees a password."""
