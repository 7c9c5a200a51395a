"""The HTTP side of the shell: routes that read, call the store, and write JSON."""
