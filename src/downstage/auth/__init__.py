"""Who may do what: principals, scopes and roles as data, tokens, tickets, seals."""
