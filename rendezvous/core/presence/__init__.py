"""Clients: their records, their states, and the pulses that keep them."""
