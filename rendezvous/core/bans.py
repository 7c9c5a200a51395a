"""Bans of networks and clients, each for a time or for good."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import attrs

from rendezvous.core.addresses import IPV4_MAPPED, packed
from rendezvous.core.notes import Note, Removed, ignore_changes, same_clock
from rendezvous.errors import Forbidden, Full, Malformed, NotFound

__all__ = ["MAX_BANS", "MAX_REASON", "SWEPT", "Ban", "Bans"]

MAX_BANS = 10_000
"""How many bans there may be. An operator who needs more of them needs a firewall."""

MAX_REASON = 200
"""Characters of the reason of a ban."""

SWEPT = 500
"""How many bans one sweep forgets, in 3 ms. Those of a list often end at the same moment. A ban that is over holds no
more, whether it is forgotten or not."""

#: Seconds of the longest ban that has an end: a hundred years.
_LONGEST = 100 * 366 * 86400.0
#: The last moment that is shown as a date.
_LAST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


@attrs.frozen
class Ban:
    """
    The ban of a network or of a client.

    :ivar target: a network such as ``198.51.100.0/24``, or the id of a client in hex digits.
    :ivar until: when it ends, in seconds on the wall clock; ``None`` for never.
    :ivar reason: what the operator has noted.
    :ivar since: when it began, in seconds on the wall clock.
    """

    target: str
    until: float | None
    reason: str
    since: float

    @property
    def client_id(self) -> bytes | None:
        """:returns: the client that is banned, or ``None`` if a network is."""
        return bytes.fromhex(self.target) if _is_client(self.target) else None

    @property
    def is_regular(self) -> bool:
        """:returns: whether the target is spelled as that of every ban is that was begun."""
        try:
            return _target(self.target)[0] == self.target
        except Malformed:
            return False

    def refusal(self, wall: float) -> Forbidden:
        """
        :param wall: the time on the wall clock.
        :returns: the error that the sender of a request is shown.
        """
        who = f"The network {self.target}" if self.client_id is None else "This client"
        if self.until is None:
            return Forbidden(f"{who} is banned.", code="banned")
        end = datetime.fromtimestamp(min(self.until, _LAST), UTC).strftime("%Y-%m-%d %H:%M:%S")
        left = max(1, math.ceil(self.until - wall))
        return Forbidden(f"{who} is banned until {end} UTC.", code="banned", retry_after=left)


class Bans:
    """
    All bans.

    They are kept on the wall clock, so that a ban ends on its day, also if the server was down meanwhile. ``now`` is
    server time, as everywhere.

    :param note: called with each ban that is new, and with each that has ended.
    :param wall: converts server time to the wall clock.
    :ivar has_networks: whether any network is banned; if not, no source has to be looked up.
    :ivar on_network: called when a network is banned, once the ban holds.
    """

    def __init__(self, note: Note = ignore_changes, wall: Callable[[float], float] = same_clock) -> None:
        self._note = note
        self._wall = wall
        self.on_network: Callable[[], None] = _nothing
        self.clear()

    def clear(self) -> None:
        """Forget all bans, without noting it."""
        self._bans: dict[str, Ban] = {}
        self._clients = 0
        # By the bytes of an address, by how many of its last bits do not matter, then by the others: a look-up for each
        # length that is in use.
        self._networks: dict[int, dict[int, dict[int, Ban]]] = {4: {}, 16: {}}
        self.has_networks = False
        # When the next ban ends, or earlier, on the wall clock.
        self._next_end = math.inf

    def __len__(self) -> int:
        """:returns: how many there are, those included whose time is over."""
        return len(self._bans)

    def has_target(self, target: str) -> bool:
        """
        :param target: as :attr:`Ban.target` spells it.
        :returns: whether there is such a ban, one included whose time is over.
        """
        return target in self._bans

    @property
    def has_clients(self) -> bool:
        """:returns: whether any client is banned."""
        return self._clients > 0

    def begin(self, target: str, seconds: float | None, reason: str, now: float) -> Ban:
        """
        Ban a network or a client from now on. A ban of the same target is replaced.

        :param seconds: for how long; ``None`` for good.
        :returns: the ban; its target is spelled as it always is.
        :raises Malformed: as :meth:`add`, or the time or the reason are out of their limits.
        :raises Full: there are :data:`MAX_BANS`.
        """
        if seconds is not None and not 0 < seconds <= _LONGEST:
            raise Malformed("seconds must be greater than 0 and at most 100 years, or null for a ban without an end.")
        if len(reason) > MAX_REASON:
            raise Malformed(f"reason must have at most {MAX_REASON} characters.", code="too-long")
        if not reason.isprintable():
            raise Malformed("reason must not have control characters.")
        wall = self._wall(now)
        self.sweep(now)
        return self.add(Ban(target, None if seconds is None else wall + seconds, reason, wall))

    def add(self, ban: Ban) -> Ban:
        """
        Add a ban. A ban of the same target is replaced.

        :returns: the ban; its target is spelled as it always is.
        :raises Malformed: the target is neither a network nor the id of a client.
        :raises Full: there are :data:`MAX_BANS`.
        """
        target, network = _target(ban.target)
        if target not in self._bans and len(self._bans) >= MAX_BANS:
            raise Full(f"There are {MAX_BANS} bans; lift some of them.", code="full-bans")
        ban = attrs.evolve(ban, target=target)
        self.restore(ban)
        self._note(ban)
        if network is not None:
            self.on_network()
        return ban

    def restore(self, ban: Ban) -> None:
        """Bring back a ban that was kept."""
        target, network = _target(ban.target)
        self._clients += network is None and target not in self._bans
        self._bans[target] = ban
        if ban.until is not None:
            self._next_end = min(self._next_end, ban.until)
        if network is not None:
            (size, free), bits = network
            self._networks[size].setdefault(free, {})[bits] = ban
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
        if network is None:
            self._clients -= 1
        else:
            (size, free), bits = network
            of_size = self._networks[size]
            del of_size[free][bits]
            if not of_size[free]:
                del of_size[free]
            self.has_networks = any(self._networks.values())
        self._note(Removed(ban))
        return ban

    def of_client(self, client_id: bytes, now: float) -> Ban | None:
        """:returns: the ban of a client that holds now, if there is one."""
        return _holding(self._bans.get(client_id.hex()), self._wall(now)) if self._clients else None

    def of_host(self, host: str, now: float) -> Ban | None:
        """
        :param host: an address as a socket shows it.
        :returns: a ban that holds now of a network that the address is in.
        """
        if not self.has_networks:
            return None
        try:
            return self.of_address(packed(host), now)
        except ValueError:
            return None

    def of_address(self, address: bytes, now: float) -> Ban | None:
        """
        :param address: 4 bytes, or 16; IPv4-mapped ones count as IPv4.
        :returns: a ban that holds now of a network that the address is in.
        """
        if len(address) == 16 and address.startswith(IPV4_MAPPED):
            address = address[12:]
        bits = int.from_bytes(address)
        for free, networks in self._networks[len(address)].items():
            found = networks.get(bits >> free)
            if found is not None and _holding(found, self._wall(now)) is not None:
                return found
        return None

    def check_host(self, host: str, now: float) -> None:
        """
        Refuse a request if its network is banned.

        :raises Forbidden: ``banned``.
        """
        ban = self.of_host(host, now)
        if ban is not None:
            raise ban.refusal(self._wall(now))

    def check_client(self, client_id: bytes, now: float) -> None:
        """
        Refuse a request if its client is banned.

        :raises Forbidden: ``banned``.
        """
        ban = self.of_client(client_id, now)
        if ban is not None:
            raise ban.refusal(self._wall(now))

    def all(self, now: float) -> list[Ban]:
        """:returns: those that hold now, the latest first."""
        wall = self._wall(now)
        return sorted(
            (ban for ban in self._bans.values() if _holding(ban, wall)), key=lambda ban: ban.since, reverse=True
        )

    def sweep(self, now: float) -> int:
        """
        Forget those whose time is over, :data:`SWEPT` at most. While none is, this looks at one number.

        :returns: how many they were.
        """
        wall = self._wall(now)
        if wall < self._next_end:
            return 0
        over = [target for target, ban in self._bans.items() if _holding(ban, wall) is None][:SWEPT]
        for target in over:
            self.lift(target)
        self._next_end = min((ban.until for ban in self._bans.values() if ban.until is not None), default=math.inf)
        return len(over)


def _nothing() -> None:
    pass


def _is_client(text: str) -> bool:
    return len(text) == 32 and all(digit in "0123456789abcdef" for digit in text)


def _holding(ban: Ban | None, wall: float) -> Ban | None:
    return ban if ban is not None and (ban.until is None or wall < ban.until) else None


def _target(text: str) -> tuple[str, tuple[tuple[int, int], int] | None]:
    """
    :returns: the target as it is always spelled; and of a network the bytes of its addresses, how many of their last
        bits do not matter, and the other bits.
    :raises Malformed: it is neither a network nor the id of a client.
    """
    given = text.strip().lower()
    if _is_client(given):
        return given, None
    if "%" in given:
        # It may be any text, and bans that differ in nothing else are of the same addresses.
        raise Malformed("The target must have no zone: fe80::1, not fe80::1%eth0. It is banned in all of them.")
    try:
        network = ip_network(given, strict=False)
    except ValueError as e:
        raise Malformed(
            f"The target must be a network such as 198.51.100.0/24, an address, or the id of a client: {e}."
        ) from None
    host = given.partition("/")[0]
    if network.network_address != ip_address(host):
        raise Malformed(f"{given} is an address with the length of a network: did you mean {network}, or {host}?")
    address, free = network.network_address.packed, network.max_prefixlen - network.prefixlen
    if address.startswith(IPV4_MAPPED) and free <= 32:
        raise Malformed("A network of IPv4 is spelled as IPv4, such as 198.51.100.0/24.")
    return str(network), ((len(address), free), int.from_bytes(address) >> free)
