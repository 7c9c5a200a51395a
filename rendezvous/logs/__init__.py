"""The server's log: its formats, where it is written, and how many lines of it there may be."""
