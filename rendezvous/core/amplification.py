"""
How much may be sent to an address that has not shown that it reads what is sent to it.

The source of a datagram can be forged. What is sent to an address is therefore held to a multiple of what has come from
there, as QUIC does it (RFC 9000, section 8.1).
"""

from __future__ import annotations

from collections import OrderedDict

from rendezvous.core.addresses import Address

__all__ = ["FACTOR", "MAX_ADDRESSES", "MAX_CREDIT", "AmplificationLimit"]

FACTOR = 4
"""Bytes that may be sent for each byte that was received."""
MAX_CREDIT = 4096
"""Bytes that an address can have in store: what one tracker request of the greatest length earns."""
MAX_ADDRESSES = 65_536
"""Addresses remembered at once: about 15 MB when full. One that is forgotten has to earn anew."""


class AmplificationLimit:
    """
    The credit of each address, in bytes: what its requests have earned, less what was sent to it.

    For example, a request of 100 bytes earns 400. If the answer takes 70 of them, 330 more may be sent later.

    :param max_addresses: addresses remembered at once, at least 1.
    """

    __slots__ = ("_credit", "_max_addresses")

    def __init__(self, max_addresses: int = MAX_ADDRESSES) -> None:
        self._max_addresses = max_addresses
        # Least recently changed first.
        self._credit: OrderedDict[Address, int] = OrderedDict()

    def __len__(self) -> int:
        """Count the addresses that have credit."""
        return len(self._credit)

    def earn(self, address: Address, received: int, answered: int) -> None:
        """
        Enter a request and its answer.

        :param received: bytes of the request.
        :param answered: bytes of the answer, which is sent in any case.
        """
        credit = self._credit.pop(address, 0) + FACTOR * received - answered
        if credit > 0:
            self._credit[address] = credit if credit < MAX_CREDIT else MAX_CREDIT
            if len(self._credit) > self._max_addresses:
                self._credit.popitem(last=False)

    def spend(self, address: Address, size: int) -> bool:
        """:returns: whether so many bytes more may be sent to an address; then they are taken from its credit."""
        if not size:
            return True
        credit = self._credit.get(address, 0)
        if credit < size:
            return False
        self._credit[address] = credit - size
        return True
