"""Extensions: found, put in order, started, stopped, reloaded; one mechanism for ours and yours."""
