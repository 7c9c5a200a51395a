"""This host's place in the network: its addresses, its next router, and when they change."""
