"""A name resolver in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import attrs
from zope.interface import implementer

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver

__all__ = ["MemoryResolver", "Question"]


@attrs.frozen
class Question:
    """
    A name that was looked up.

    :ivar port: is part of the addresses.
    :ivar receiver: of the addresses.
    """

    name: str
    port: int
    receiver: IResolutionReceiver


@implementer(IHostnameResolver)
class MemoryResolver:
    """
    A name resolver. It answers a name that it knows at once, and any other one when :meth:`answer` is called.

    :ivar known: IP addresses by name; a name may have none.
    :ivar asked: the names that were looked up, in order.
    """

    def __init__(self) -> None:
        self.known: dict[str, Sequence[str]] = {}
        self.asked: list[Question] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Look up a name."""
        resolution = cast(IHostResolution, None)
        resolutionReceiver.resolutionBegan(resolution)
        self.asked.append(Question(hostName, portNumber, resolutionReceiver))
        if hostName in self.known:
            self.answer(*self.known[hostName])
        return resolution

    def answer(self, *hosts: str) -> None:
        """
        Answer the newest question.

        :param hosts: the IP addresses that the name has.
        """
        question = self.asked[-1]
        for host in hosts:
            kind = IPv6Address if ":" in host else IPv4Address
            question.receiver.addressResolved(kind("TCP", host, question.port))
        question.receiver.resolutionComplete()
