"""The measuring instrument: knows pages and pictures, not products (but for `products`)."""
