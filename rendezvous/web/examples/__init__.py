"""
A worked request and its answer for every route.

They are in the description (:mod:`rendezvous.web.openapi`) and on a page of the documentation. A test sends each of
them to a server, and compares the answers.
"""

from rendezvous.web.examples.connect import CONNECT
from rendezvous.web.examples.example import Example, Examples
from rendezvous.web.examples.offers import OFFERS
from rendezvous.web.examples.presence import FAREWELL, PRESENCE
from rendezvous.web.examples.sessions import SESSIONS, SOCKETS

__all__ = ["EXAMPLES", "Example"]

EXAMPLES: Examples = {**PRESENCE, **OFFERS, **SESSIONS, **CONNECT, **SOCKETS, **FAREWELL}
