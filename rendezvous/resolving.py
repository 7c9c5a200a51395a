"""From the name of a server to its IP addresses: those that a datagram can be sent to."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address as IPv6
from ipaddress import ip_address

from zope.interface import implementer

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver

__all__ = ["choose", "is_ipv6", "literal", "resolve"]


def literal(host: str) -> str | None:
    """
    A host that is an address already, spelled as sockets spell it.

    :param host: an address or a name.
    :returns: the address, a v4-mapped one as IPv4; ``None`` when it is a name.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6) else None
    return str(mapped or address)


def is_ipv6(address: str) -> bool:
    """
    Whether an address is an IPv6 one.

    :param address: an IP address as text.
    """
    return ":" in address


def choose(addresses: Iterable[str], *, ipv6: bool | None) -> str | None:
    """
    The address to use: the resolver's first that the socket can reach.

    :param addresses: candidates, best first.
    :param ipv6: the socket's family, or ``None`` when there is no socket yet.
    :returns: an address, or ``None`` when none fits.
    """
    return next((address for address in addresses if ipv6 is None or is_ipv6(address) == ipv6), None)


def resolve(resolver: IHostnameResolver, host: str) -> Deferred[list[str]]:
    """
    All addresses of a host.

    :param resolver: the reactor's name resolver; it is not asked about an address.
    :param host: an address or a name.
    :returns: fires with IP addresses, best first; none when the name has no address. When cancelled, the
        resolver's later answer is ignored, since Twisted's own cannot be stopped.
    """
    address = literal(host)
    if address is not None:
        return succeed([address])
    receiver = _Receiver()
    resolver.resolveHostName(receiver, host, addressTypes=[IPv4Address, IPv6Address], transportSemantics="UDP")
    return receiver.complete


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects what the resolver finds."""

    def __init__(self) -> None:
        self.complete: Deferred[list[str]] = Deferred()
        self._found: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing is known yet."""

    def addressResolved(self, address: IAddress) -> None:
        """
        Keep one address.

        :param address: what was found.
        """
        if isinstance(address, IPv4Address | IPv6Address):
            self._found.append(address.host)

    def resolutionComplete(self) -> None:
        """Nothing more will come."""
        self.complete.callback(self._found)
