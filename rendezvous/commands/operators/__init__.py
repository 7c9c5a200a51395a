"""What ``rendezvous-admin`` does with a server that runs: it asks the server's port for operators."""
