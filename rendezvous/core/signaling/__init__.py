"""
Offers, answers, candidates and sessions, and the events about them.

:mod:`~rendezvous.core.signaling.signaling` has the verbs of the offers protocol, and ``sessions`` those of the sessions
protocol, on the same ``table``. ``listings`` reads it in pages. ``specs`` says what may become one of the records in
``offers``. ``memory`` counts what all of it takes.
"""
