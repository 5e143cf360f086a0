"""What we call of fsspec."""
