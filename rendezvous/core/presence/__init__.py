"""
Clients: their records, their states, and the pulses that keep them.

:mod:`~rendezvous.core.presence.presence` has the verbs, and ``states`` the times that they follow. Clients are kept as
the ``record`` in the ``clients`` columns, and found by ``keyindex``. ``batch`` and the modules named after it decide
many pulses together, with NumPy; ``steady`` lets other processes take pulses; ``signedrequests`` decides signed pulses.
"""
