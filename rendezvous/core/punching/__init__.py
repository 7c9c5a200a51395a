"""
The client's side of an attempt to connect, and the path that comes of it.

:mod:`~rendezvous.core.punching.puncher` opens a path in rounds: it sends probes at the times of ``schedule``, or of
``birthday``, and ``selection`` selects the pair of addresses to use. :mod:`~rendezvous.core.punching.path` then keeps
it alive: ``silence`` notices that the pair in use has failed, ``spares`` keeps others ready, ``renewal`` says when a
new attempt (an ICE restart) would help, and ``kept`` has the attempts of the path. Both send and take probes with
``checks``, and ask their caller for ``actions``.
"""
