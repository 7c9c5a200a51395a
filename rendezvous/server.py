"""Puts the server on its ports, as ``twistd rendezvous`` does."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.application.service import MultiService

from rendezvous.errors import StartupError
from rendezvous.listening import Listening, admin_places, http_places, udp_place
from rendezvous.service import Rendezvous
from rendezvous.settings import Settings
from rendezvous.udp.fast import listen_fast
from rendezvous.udp.mmsg import Calls

__all__ = ["Server", "make_service"]


class Server(MultiService):
    """
    The server that ``twistd rendezvous`` runs: a :class:`Rendezvous` and its ports, in the order they start in.

    :ivar rendezvous: the server without its ports.
    """

    def __init__(self, rendezvous: Rendezvous) -> None:
        super().__init__()
        self.rendezvous = rendezvous
        rendezvous.setServiceParent(self)

    def reload(self, settings: Settings) -> None:
        """Take over what can change while the server runs: see :meth:`Rendezvous.reload`."""
        self.rendezvous.reload(settings)


def make_service(settings: Settings, reactor: Any, calls: Calls | None = None, **parts: Any) -> Server:
    """
    Make the server that ``twistd rendezvous`` runs.

    :param calls: system calls for the fast path of UDP (:func:`~rendezvous.udp.mmsg.load_calls`); without them UDP
        ports take one datagram at a time.
    :param parts: passed on to :class:`Rendezvous`.
    :returns: the :class:`Rendezvous` and a service for each port.
    :raises StartupError: a setting cannot be used.
    """
    if settings.udp_workers and calls is None:
        raise StartupError("--udp-workers needs Linux, and the system calls recvmmsg and sendmmsg")
    rendezvous = Rendezvous(settings, reactor, **parts)
    service = Server(rendezvous)
    places = [*http_places(settings, reactor, rendezvous.site())]
    if settings.admin:
        places += admin_places(settings, reactor, rendezvous.admin_site())
    for place in places:
        Listening(place, reactor, rendezvous.counters).setServiceParent(service)
        if place.certificate is not None:
            rendezvous.certificates.append(place.certificate)
    workers = rendezvous.workers()
    for port in settings.udp_port:
        protocol = rendezvous.datagrams(port.dialect)
        listen = partial(listen_fast, reactor, port.number, protocol, calls, workers=workers)
        Listening(udp_place(settings, listen), reactor, rendezvous.counters).setServiceParent(service)
    return service
