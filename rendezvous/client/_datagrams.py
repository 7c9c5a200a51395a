"""A protocol of Twisted that hands on what a UDP socket reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from rendezvous.core.addresses import Address

__all__ = ["Datagrams"]


class Datagrams(DatagramProtocol):
    """
    Hands on datagrams.

    :param received: called with each datagram, and the host and the port that it came from.
    :param refused: called when the system says that no socket listens where a datagram went.
    """

    noisy = False

    def __init__(self, received: Callable[[bytes, Address], None], refused: Callable[[], None] = lambda: None) -> None:
        self._received = received
        self._refused = refused

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        # With IPv6 an address has two further members.
        self._received(datagram, (addr[0], addr[1]))

    def connectionRefused(self) -> None:
        self._refused()
