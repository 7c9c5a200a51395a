"""Two sites in a simulated network, and the NATs that stand between them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs

from twisted.internet.task import Clock

from rendezvous.testing import translation as nat
from rendezvous.testing.nat import Nat
from rendezvous.testing.network import Address, Burst, Host, Link, Network, Socket
from rendezvous.testing.translation import Behaviour, Masquerade

#: The NATs of the matrices, by the names that the pages of the documentation give them.
NATS: dict[str, Behaviour | Masquerade | None] = {
    "public": None,
    "full cone": nat.FULL_CONE,
    "address-restricted": nat.ADDRESS_RESTRICTED,
    "port-restricted": nat.PORT_RESTRICTED,
    "linux-naive": nat.LINUX_NAIVE,
    "EIM random": nat.EIM_RANDOM,
    "address-dependent": nat.ADDRESS_DEPENDENT,
    "symmetric": nat.SYMMETRIC,
    "symmetric EIF": nat.SYMMETRIC_EIF,
    "sequential": nat.SEQUENTIAL,
    "blocked": nat.PORT_RESTRICTED,
}

SERVER = "203.0.113.1"
SERVER_PORTS = (5024, 5026)


@attrs.define(eq=False)
class Site:
    """
    One host, public or behind a NAT.

    :ivar router: ``None`` for a public host.
    """

    host: Host
    router: Nat | None


class World:
    """
    A server, and as many sites as a test makes.

    :param one_way: seconds between two public addresses.
    """

    def __init__(self, seed: int = 0, one_way: float = 0.02, hops: int = 3) -> None:
        self.random = Random(seed)
        self.network = Network(Clock(), self.random, hops)
        self.one_way = one_way
        self._sites = 0
        self.server = self.network.host(SERVER, self.link())
        for port in SERVER_PORTS:
            self._serve(self.server.bind(port))

    @property
    def now(self) -> float:
        """:returns: seconds."""
        return self.network.clock.seconds()

    def link(self, jitter: float = 0.0, loss: float = 0.0, burst: Burst | None = None) -> Link:
        """:returns: a link with half of the delay between two public addresses."""
        return Link(self.one_way / 2, jitter, loss, burst)

    def serve_ipv6(self) -> None:
        """Give the server an IPv6 address."""
        self.server.connect(self.network, "2001:db8::1", self.link())
        for port in SERVER_PORTS:
            self._serve(self.server.bind(port, ipv6=True))

    def site(self, kind: str, link: Link | None = None, *, hairpin: bool = False) -> Site:
        """:returns: a new site whose NAT is of a kind of :data:`NATS`."""
        self._sites += 1
        behaviour = NATS[kind]
        link = self.link() if link is None else link
        if behaviour is None:
            return Site(self.network.host(f"198.51.100.{self._sites}", link), None)
        address = f"198.51.100.{self._sites}"
        router = Nat(self.network, address, behaviour, link, hairpin=hairpin, blocked=kind == "blocked")
        return Site(router.host(f"192.168.{self._sites}.2"), router)

    def observe(self, socket: Socket, then: Callable[[int, Address], None]) -> None:
        """
        Have the server say where a socket is, on both of its ports. A request that gets no answer is repeated.

        :param then: called with the index of the port and the address that was seen.
        """
        seen: dict[int, Address] = {}
        before = socket.on_datagram

        def answered(datagram: bytes, source: Address) -> None:
            if source[0] != self.server.addresses.get(":" in source[0]):
                if before is not None:
                    before(datagram, source)
                return
            index = SERVER_PORTS.index(source[1])
            if index not in seen:
                host, _, port = datagram.decode("ascii").rpartition(" ")
                seen[index] = (host, int(port))
                then(index, seen[index])

        socket.on_datagram = answered

        def ask(attempt: int) -> None:
            for index, port in enumerate(SERVER_PORTS):
                if index not in seen:
                    socket.send(b"observe", (self.server.addresses[socket.ipv6], port))
            if len(seen) < len(SERVER_PORTS) and attempt < 5:
                self.network.clock.callLater(0.1 * 2**attempt, ask, attempt + 1)

        ask(0)

    @staticmethod
    def _serve(socket: Socket) -> None:
        socket.on_datagram = lambda _, source: socket.send(f"{source[0]} {source[1]}".encode("ascii"), source)
