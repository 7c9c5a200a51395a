"""What is known about a router, for the application and for diagnosis."""

from __future__ import annotations

from ipaddress import ip_address

from attrs import field, frozen

from rendezvous.client.network.gateway import Gateway
from rendezvous.client.portmap.lease import is_public
from rendezvous.wire.portmap import AddressReply, MapReply, NatPmpResult, Protocol, Refusal, Reply

__all__ = ["Findings", "GatewayReport"]


@frozen
class GatewayReport:
    """
    What is known about the next router.

    :ivar gateway: its address, ``None`` if this host has none, or none has been looked for.
    :ivar source: the address of this host towards it.
    :ivar protocols: the protocols that it has answered in, of ``pcp`` and ``nat-pmp``.
    :ivar refusals: why it has refused the last request of a protocol, by protocol, in words.
    :ivar external_address: the external address that it has named, also one that is not public.
    :ivar is_double_nat: whether the router itself seems to be behind another NAT: its external address is not public,
        or it says that it has none. A mapping would then be of no use.
    """

    gateway: str | None = None
    source: str | None = None
    protocols: frozenset[str] = frozenset()
    refusals: dict[str, str] = field(factory=dict)
    external_address: str | None = None
    is_double_nat: bool = False


class Findings:
    """What the replies of one router say about it."""

    def __init__(self) -> None:
        self._protocols: set[str] = set()
        self._refusals: dict[str, str] = {}
        self._external_address: str | None = None
        self._has_no_address = False

    def take(self, reply: Reply) -> None:
        """Take a reply."""
        self._protocols.add(reply.protocol.value)
        match reply:
            case Refusal():
                self._take_refusal(reply)
            case AddressReply(address=str(address)) | MapReply(address=str(address)):
                self._external_address, self._has_no_address = address, False
                self._refusals.pop(reply.protocol.value, None)
            case _:
                self._refusals.pop(reply.protocol.value, None)

    def report(self, gateway: Gateway | None) -> GatewayReport:
        """:returns: all of it."""
        external = self._external_address
        return GatewayReport(
            None if gateway is None else gateway.host,
            None if gateway is None else gateway.source,
            frozenset(self._protocols),
            dict(self._refusals),
            external,
            self._has_no_address or (external is not None and not is_public(external)),
        )

    def _take_refusal(self, reply: Refusal) -> None:
        protocol = reply.protocol
        if protocol is Protocol.NAT_PMP and reply.result == NatPmpResult.UNSUPPORTED_VERSION and reply.about_map:
            protocol = Protocol.PCP  # NAT-PMP's answer to PCP.
        self._refusals[protocol.value] = reply.reason
        if reply.protocol is Protocol.NAT_PMP and reply.result == NatPmpResult.NETWORK_FAILURE:
            self._has_no_address = True
        # Some name the private address that keeps them from making a mapping; most repeat what was asked for.
        if reply.address is not None and not ip_address(reply.address).is_unspecified:
            self._external_address = reply.address
