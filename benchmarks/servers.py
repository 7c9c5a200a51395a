"""
The servers under load, each a process: ``python -m benchmarks.servers NAME [CLIENTS [SETTINGS]]``.

It prints its port, and serves. Settings are a JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

import attrs

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from benchmarks.full import Turns, fill
from rendezvous.core.identity import Keyring, Secret
from rendezvous.limits import SourceLimits
from rendezvous.process import collect_seldom
from rendezvous.service import Rendezvous
from rendezvous.settings import Settings
from rendezvous.udp.fast import listen_fast
from rendezvous.udp.mmsg import load_calls

#: Known to the load as well, so that both can derive the same keys.
SECRET = bytes(range(32))
KEYRING = Keyring([Secret(SECRET)])

#: The paths of UDP, by the name of the server that takes one, and its system calls. Its clients have never pulsed.
PATHS = {"fast": load_calls, "portable": lambda: None}


class Echo(DatagramProtocol):
    """The least that a Twisted datagram protocol can do and still answer."""

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.transport.write(datagram, addr)


class QuietSite(Site):
    """A plain site without its access log, like ours."""

    def log(self, request: object) -> None:
        pass


class Constant(Resource):
    """
    The least that a resource of twisted.web can do and still answer: the same body to every request.

    :param body: JSON.
    """

    isLeaf = True

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def render(self, request: Request) -> bytes:
        """Answer."""
        request.setHeader(b"Content-Type", b"application/json")
        return self._body


#: So high that the load of a benchmark reaches none of them.
HIGH = {"requests": 1e9, "registrations": 1e9, "publications": 1e9}


def rendezvous(high_limits: bool = False, **settings: object) -> Rendezvous:
    """
    The server with its sweep, but no ports yet.

    :param high_limits: whether rates are limited by source, to what one address does not reach.
    """
    directory = tempfile.mkdtemp()
    settings.setdefault("store", "memory:")
    if high_limits:
        settings |= {"no_source_limits": False, "source_share": "100%"}
    if hasattr(Settings, "no_source_limits"):
        settings.setdefault("no_source_limits", True)  # All of the load has one address.
    made = Rendezvous(
        Settings(secret_file=os.path.join(directory, "secret"), **settings),
        reactor,
        environ={"RENDEZVOUS_SECRET": SECRET.hex()},
    )
    if high_limits:
        # Earlier revisions have it in another place.
        gate: Any = made.web.gate if hasattr(made, "web") else made._gate
        gate.quotas.change(attrs.evolve(SourceLimits(), **HIGH))
    made.privilegedStartService()
    made.startService()
    reactor.addSystemEventTrigger("before", "shutdown", made.stopService)
    return made


def client_id(number: int) -> bytes:
    """The id of the client with this number; ids of a benchmark need not be random."""
    return number.to_bytes(16, "big")


def populate(made: Rendezvous, clients: int, pulsed: bool = True) -> None:
    """Let that many clients in, their deadlines spread over the error time as they would be."""
    now = reactor.seconds()
    presence = made.store.tables.presence
    for number in range(clients):
        key = KEYRING.key(client_id(number))
        presence.register(client_id(number), key, now - number % 100)
        if pulsed:
            presence.pulse(
                key, (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 1024 + number % 60000), now
            )


def scraped(clients: int, turns: str, pulsed: int, **settings: object) -> Any:
    """
    Serve with full tables, and measure the turns of the reactor.

    :param turns: where the results go (:class:`benchmarks.full.Turns`).
    :param pulsed: whether clients have pulsed.
    :returns: the UDP port. The port of operators is printed.
    """
    made = rendezvous(**settings)
    populate(made, clients, bool(pulsed))
    fill(made, made.clock.seconds())
    public = reactor.listenTCP(0, made.site(), interface="127.0.0.1", backlog=512).getHost().port
    print(reactor.listenTCP(0, made.admin_site(), interface="127.0.0.1").getHost().port, end=" ")
    # Twisted has no public name for it.
    reactor._poller = Turns(reactor._poller, turns, public)
    return listen_fast(reactor, 0, made.datagrams(), load_calls(), "127.0.0.1")


def main(name: str, clients: str = "0", settings: str = "{}") -> None:
    if name == "echo":
        port = reactor.listenUDP(0, Echo(), interface="127.0.0.1")
    elif name == "constant":
        with open(json.loads(settings)["body"], "rb") as file:
            site = QuietSite(Constant(file.read()))
        port = reactor.listenTCP(0, site, interface="127.0.0.1", backlog=512)
    elif name == "scraped":
        port = scraped(int(clients), **json.loads(settings))
    else:
        made = rendezvous(**json.loads(settings))
        populate(made, int(clients), name not in PATHS)
        if name == "both":
            print(reactor.listenTCP(0, made.site(), interface="127.0.0.1").getHost().port, end=" ")
        if name in PATHS or name in ("both", "datagrams"):
            calls = PATHS.get(name, load_calls)()
            port = listen_fast(reactor, 0, made.datagrams(), calls, "127.0.0.1", made.workers())
        else:
            port = reactor.listenTCP(0, made.site(), interface="127.0.0.1", backlog=512)
    # As in a process of twistd; the yardsticks have it too.
    collect_seldom()
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
