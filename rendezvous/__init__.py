"""
A rendezvous server: peers that cannot see each other find each other through it.

``twistd rendezvous`` runs it; :mod:`rendezvous.service` embeds it; :mod:`rendezvous.client` talks to it.
"""

from rendezvous._version import __version__

__all__ = ["__version__"]
