"""Measures what a NAT does with plain sockets: mapping and filtering by the words of RFC 4787, and who reaches whom."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable

from tests.natlab.network import SERVER, SERVER_2, STRANGER, Network

Address = tuple[str, int]

#: Two addresses with two ports each.
PLACES = ((SERVER, 3478), (SERVER, 3479), (SERVER_2, 3478), (SERVER_2, 3479))
_STRANGER = (STRANGER, 7777)


def arrived(sockets: Iterable[socket.socket], wait: float) -> list[tuple[socket.socket, bytes, Address]]:
    """:returns: the datagrams that have come to these sockets, after a wait for the first one."""
    found: list[tuple[socket.socket, bytes, Address]] = []
    for ready in select.select(list(sockets), [], [], max(0.0, wait))[0]:
        while True:
            try:
                data, source = ready.recvfrom(2048)
            except OSError:
                break
            found.append((ready, data, source[:2]))
    return found


def delivered(
    source: socket.socket, target: Address, sockets: Iterable[socket.socket], wait: float = 0.15, tries: int = 2
) -> Address | None:
    """
    Send a datagram until one comes out at one of these sockets.

    :returns: the source that it shows; ``None`` if none has come.
    """
    watched = list(sockets)
    for _ in range(tries):
        tag = os.urandom(8)
        try:
            source.sendto(tag, target)
        except OSError:
            # A route of IPv6 may need a moment after its link came up.
            time.sleep(wait)
            continue
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0:
            for _, data, seen in arrived(watched, left):
                if data == tag:
                    return seen
    return None


class Observers:
    """Sockets of the server and of a stranger that see where datagrams come from."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._all: list[socket.socket] = []
        self._server = {place: self.open("server", *place) for place in PLACES}
        self._stranger = self.open("stranger", *_STRANGER)

    def close(self) -> None:
        """Close all sockets."""
        for each in self._all:
            each.close()

    def open(self, name: str, address: str = "", port: int = 0) -> socket.socket:
        """:returns: a UDP socket in a namespace that is closed with the others."""
        opened = self._network.namespaces.socket(name, address, port)
        self._all.append(opened)
        return opened

    def seen(self, source: socket.socket, place: Address = PLACES[0], tries: int = 2) -> Address | None:
        """:returns: where the server sees a socket."""
        return delivered(source, place, [self._server[place]], tries=tries)

    def reach(self, target: Address, host: socket.socket) -> dict[str, bool]:
        """:returns: whether each of the observers reaches a socket by an address that is said to be its own."""
        senders = {"same": self._server[PLACES[0]], "port": self._server[PLACES[1]], "address": self._server[PLACES[2]]}
        senders["stranger"] = self._stranger
        return {who: delivered(sender, target, [host]) is not None for who, sender in senders.items()}

    def mapping(self, name: str) -> str:
        """:returns: the mapping behaviour of a host's NAT (RFC 4787, section 4.1; RFC 5780, section 4.3)."""
        host = self.open(name)
        seen = [self.seen(host, place) for place in PLACES]
        if None in seen:
            return "blocked"
        if len(set(seen)) == 1:
            return "none" if seen[0] == self._own(host, name) else "endpoint-independent"
        by_address = seen[0] == seen[1] and seen[2] == seen[3]
        return "address-dependent" if by_address else "endpoint-dependent"

    def _own(self, host: socket.socket, name: str) -> Address:
        words = self._network.namespaces.run(name, "ip", "-4", "-o", "address", "show", "dev", "eth0").split()
        return words[3].partition("/")[0], host.getsockname()[1]

    def filtering(self, name: str) -> str:
        """:returns: the filtering behaviour of a host's NAT (RFC 4787, section 5; RFC 5780, section 4.4)."""
        host = self.open(name)
        seen = self.seen(host)
        if seen is None:
            return "blocked"
        reach = self.reach(seen, host)
        assert reach["same"], "an answer has to come back"
        if reach["address"] and reach["stranger"]:
            return "endpoint-independent"
        return "address-dependent" if reach["port"] else "endpoint-dependent"
