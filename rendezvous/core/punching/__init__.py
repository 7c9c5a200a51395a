"""The client's side of an attempt to connect, and the path that comes of it."""
