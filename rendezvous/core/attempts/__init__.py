"""
The server's side of an attempt to connect two clients.

:mod:`~rendezvous.core.attempts.attempts` has the verbs of clients, ``attempt`` the records, and ``table`` holds them
and says what is due. ``progress`` decides how an attempt goes on: by the ``mapping`` of each NAT, the ``candidates``
that each side may have, and the ``strategy``.
"""
