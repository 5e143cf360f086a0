"""A moving picture that says when it was drawn: what Downstage is measured with."""
