"""The server's side of an attempt to connect two clients."""
