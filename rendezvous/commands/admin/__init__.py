"""``rendezvous-admin``: what an operator does with a server's files, and with a server that runs."""
