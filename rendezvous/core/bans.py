"""Networks and clients that an operator has shut out, each for a time or for good."""

from __future__ import annotations

from ipaddress import ip_network

import attrs

from rendezvous.core.addresses import IPV4_MAPPED, packed
from rendezvous.core.notes import Note, Removed, ignore_changes
from rendezvous.errors import Full, Malformed, NotFound

__all__ = ["MAX_BANS", "Ban", "Bans"]

MAX_BANS = 10_000
"""How many bans there may be. An operator who needs more of them needs a firewall."""


@attrs.frozen
class Ban:
    """
    Somebody who is shut out.

    :ivar target: a network such as ``198.51.100.0/24``, or the id of a client in hex digits.
    :ivar until: when it ends, in seconds on the wall clock; ``None`` for never.
    :ivar reason: what the operator has noted.
    :ivar since: when it began, in seconds on the wall clock.
    """

    target: str
    until: float | None
    reason: str
    since: float


class Bans:
    """
    All bans. Times are on the wall clock, so that a ban ends on its day, also if the server was down meanwhile.

    :param note: called with each ban that is new, and with each that has ended.
    :ivar has_networks: whether any network is shut out; if not, no source has to be looked at.
    """

    def __init__(self, note: Note = ignore_changes) -> None:
        self._note = note
        self._bans: dict[str, Ban] = {}
        # By the bytes of an address and by how many of its last bits do not matter, then by the others: a look-up for
        # each length that is in use.
        self._networks: dict[tuple[int, int], dict[int, Ban]] = {}
        self.has_networks = False

    def __len__(self) -> int:
        """:returns: how many there are, those included whose time is over."""
        return len(self._bans)

    def add(self, ban: Ban) -> None:
        """
        Shut somebody out. A ban of the same target is replaced.

        :raises Malformed: the target is neither a network nor the id of a client.
        :raises Full: there are :data:`MAX_BANS`.
        """
        target = _target(ban.target)[0]
        if target not in self._bans and len(self._bans) >= MAX_BANS:
            raise Full(f"There are {MAX_BANS} bans; lift some of them.", code="full-bans")
        self.restore(attrs.evolve(ban, target=target))
        self._note(self._bans[target])

    def restore(self, ban: Ban) -> None:
        """Bring back a ban that was kept."""
        target, network = _target(ban.target)
        self._bans[target] = ban
        if network is not None:
            length, bits = network
            self._networks.setdefault(length, {})[bits] = ban
            self.has_networks = True

    def lift(self, target: str) -> Ban:
        """
        End a ban.

        :returns: the ban.
        :raises Malformed: the target is neither a network nor the id of a client.
        :raises NotFound: there is no such ban.
        """
        target, network = _target(target)
        ban = self._bans.pop(target, None)
        if ban is None:
            raise NotFound("There is no such ban.", code="no-such-ban")
        if network is not None:
            length, bits = network
            del self._networks[length][bits]
            if not self._networks[length]:
                del self._networks[length]
            self.has_networks = bool(self._networks)
        self._note(Removed(ban))
        return ban

    def of_client(self, client_id: bytes, wall: float) -> Ban | None:
        """:returns: the ban of a client, if it is shut out now."""
        return _holding(self._bans.get(client_id.hex()), wall) if self._bans else None

    def of_host(self, host: str, wall: float) -> Ban | None:
        """
        :param host: an address as a socket shows it.
        :returns: a ban that holds now of a network that the address is in.
        """
        if not self._networks:
            return None
        try:
            address = packed(host)
        except ValueError:
            return None
        size, bits = len(address), int.from_bytes(address)
        for (family, free), networks in self._networks.items():
            ban = _holding(networks.get(bits >> free), wall) if family == size else None
            if ban is not None:
                return ban
        return None

    def all(self, wall: float) -> list[Ban]:
        """:returns: those that hold now, the latest first."""
        return sorted(
            (ban for ban in self._bans.values() if _holding(ban, wall)), key=lambda ban: ban.since, reverse=True
        )

    def sweep(self, wall: float) -> int:
        """
        Forget those whose time is over.

        :returns: how many they were.
        """
        over = [target for target, ban in self._bans.items() if _holding(ban, wall) is None]
        for target in over:
            self.lift(target)
        return len(over)


def _holding(ban: Ban | None, wall: float) -> Ban | None:
    return ban if ban is not None and (ban.until is None or wall < ban.until) else None


def _target(text: str) -> tuple[str, tuple[tuple[int, int], int] | None]:
    """
    :returns: the target as it is always spelled; and of a network the bytes of its addresses, how many of their last
        bits do not matter, and the other bits.
    :raises Malformed: it is neither a network nor the id of a client.
    """
    given = text.strip().lower()
    if len(given) == 32 and all(digit in "0123456789abcdef" for digit in given):
        return given, None
    try:
        network = ip_network(given)
    except ValueError as e:
        raise Malformed(
            f"The target must be a network such as 198.51.100.0/24, an address, or the id of a client: {e}."
        ) from None
    address, free = network.network_address.packed, network.max_prefixlen - network.prefixlen
    if address.startswith(IPV4_MAPPED) and free <= 32:
        raise Malformed("A network of IPv4 is spelled as IPv4, such as 198.51.100.0/24.")
    return str(network), ((len(address), free), int.from_bytes(address) >> free)
