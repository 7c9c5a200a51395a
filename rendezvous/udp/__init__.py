"""The UDP side of the shell: datagrams in, decisions by the store, replies out."""
