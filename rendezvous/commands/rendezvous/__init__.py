"""``rendezvous``: connects two machines, and shows what kind of NAT a machine is behind."""
