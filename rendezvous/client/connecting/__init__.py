"""
Paths to peers: attempts that this client begins, invitations that it takes, and paths that move.

An application begins with :mod:`~rendezvous.client.connecting.connector`, and gets what is in
:mod:`~rendezvous.client.connecting.paths`. ``_inviting`` learns of invitations. ``_attempt`` runs one attempt: it opens
sockets and a relay with ``_gathering`` and ``_endpoints``, learns with ``_observing`` where the server sees them, asks
the server with ``_requests``, and drives the puncher of ``core.punching``. ``_host`` has what all attempts of one
client share, and ``_reasons`` says why an attempt has ended.
"""
