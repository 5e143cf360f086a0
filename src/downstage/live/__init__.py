"""Live layers as data: the document that server and clients share, without any USD."""
