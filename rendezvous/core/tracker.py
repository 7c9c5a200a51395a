"""
The tracker's table: peers that announced themselves from a UDP address, found by that address and by ``shareId``.

One table serves all UDP ports of a server, so peers of both dialects find each other. The socket that a peer has sent
to is part of its source. Notices leave by that socket, because the peer's NAT lets through only what comes from there.

A peer is live up to and including ``lifetime`` seconds after its last activity, which is any request from its address.
No answer depends on :meth:`Tracker.expire`, which only frees memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address

from attrs import define

from rendezvous.core.addresses import is_private, packed, shown
from rendezvous.core.notes import Note, Removed, ignore_changes
from rendezvous.core.replies import (
    Announced,
    Expired,
    PeerInfo,
    Pulsed,
    Pushed,
    PushNotice,
    Replies,
    Source,
    StillAlive,
)
from rendezvous.core.shares import Shares
from rendezvous.core.sources import source_network
from rendezvous.errors import Full, Malformed, NotFound, TooMany

__all__ = [
    "LIFETIME",
    "MAX_MULTIADDR",
    "MAX_PEERS",
    "SHARE_ID_SIZE",
    "Tracker",
    "TrackerPeer",
]

LIFETIME = 300.0
"""Seconds that a peer lives after its last activity."""
MAX_PEERS = 100_000
"""Peers in one table: about 50 MB when full."""
MAX_MULTIADDR = 256
"""Characters of a multiaddr, and bytes of it as JSON, so that what is passed on has a size that is known."""
SHARE_ID_SIZE = 8
"""Characters of a shareId."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Random bytes from here on would make some characters likelier than others.
_FAIR = 256 - 256 % len(_ALPHABET)


@define(eq=False, weakref_slot=False)
class TrackerPeer:
    """
    One peer. The table changes it in place, so a receiver of notes copies what it wants to keep.

    :ivar source: the address its datagrams come from, and the only one that anything is ever sent to.
    :ivar ip: the recorded host, the source's own until it is overridden; IPv4 is never spelled as IPv6.
    :ivar port: the recorded port.
    :ivar share_id: the name that others push to.
    :ivar last_seen: seconds of server time, at the last activity.
    :ivar multiaddr: text that the peer wants passed on beside its address, if any.
    """

    source: Source
    ip: str
    port: int
    share_id: str
    last_seen: float
    multiaddr: str | None = None


class Tracker:
    """
    The peers of a server's UDP ports, and every decision about them.

    :param random_bytes: gives that many unpredictable bytes.
    :param lifetime: seconds that a peer lives after its last activity.
    :param max_peers: peers in the table at once, at least 1.
    :param shares: how many of them one source may hold; by default as many as there are.
    :param note: called with each :class:`TrackerPeer` that changed, after it did, and with ``Removed(peer)``.
    :param touch: called with each :class:`TrackerPeer` of which only the last activity has changed.
    """

    def __init__(
        self,
        random_bytes: Callable[[int], bytes],
        *,
        lifetime: float = LIFETIME,
        max_peers: int = MAX_PEERS,
        shares: Shares | None = None,
        note: Note = ignore_changes,
        touch: Note = ignore_changes,
    ) -> None:
        self._random_bytes = random_bytes
        self._lifetime = lifetime
        self._max_peers = max_peers
        self._shares = Shares("tracker peers") if shares is None else shares
        self._note = note
        self._touch = touch
        # Least recently seen first. An OrderedDict, because a dict leaves a hole wherever a peer is moved from, and
        # would search all of them again for its first entry.
        self._by_source: OrderedDict[Source, TrackerPeer] = OrderedDict()
        self._by_share_id: dict[str, TrackerPeer] = {}

    def change(self, max_peers: int, shares: tuple[int, int]) -> None:
        """Use other bounds from now on. What is there already stays, and is counted."""
        self._max_peers = max_peers
        self._shares.change(*shares)

    def __len__(self) -> int:
        """Count the peers held, including those that have expired and are not swept yet."""
        return len(self._by_source)

    def announce(self, source: Source, now: float) -> Replies:
        """
        Enter a peer, or see again one that is there: that keeps its ``shareId`` and all that was recorded.

        :param source: where the request came from.
        :param now: seconds of server time.
        :returns: :class:`Announced`.
        :raises Full: when the table is full of live peers.
        :raises TooMany: when the source's network holds its share of the table.
        """
        peer = self._live(source, now)
        if peer is not None:
            self._see(peer, now)
        else:
            self._make_room(source, now)
            peer = TrackerPeer(source, shown(source[0]), source[1], self._draw_share_id(), now)
            self._insert(peer)
            self._note(peer)
        return ((Announced(peer.share_id), source),)

    def pulse(
        self,
        source: Source,
        now: float,
        *,
        override: bool = False,
        ip: str | None = None,
        port: int | None = None,
        multiaddr: str | None = None,
        renew_share_id: bool = False,
    ) -> Replies:
        """
        Keep a peer alive, and record what it asks for: all of that or none of it.

        :param source: where the request came from.
        :param now: seconds of server time.
        :param override: record ``ip`` and ``port``; without it they mean nothing.
        :param ip: the source's own host, or a private address; ``None`` leaves it.
        :param port: 1 to 65535; ``None`` leaves it. An override of neither is refused.
        :param multiaddr: text to pass on from now on, at most :data:`MAX_MULTIADDR`; ``None`` leaves it, and an
            empty text removes it.
        :param renew_share_id: draw a new name; the old one ends.
        :returns: :class:`Pulsed`.
        :raises NotFound: when the caller is not live.
        :raises Malformed: when the multiaddr is too long; then the pulse has no effect.
        """
        peer = self._caller(source, now)
        if multiaddr is not None and _written_size(multiaddr) > MAX_MULTIADDR:
            raise Malformed("multiaddr is too long.")
        recorded = _overridden(peer, ip, port) if override else (peer.ip, peer.port)
        if recorded is None:
            self._see(peer, now)
            return ((Pulsed(refused=True), source),)
        peer.ip, peer.port = recorded
        if multiaddr is not None:
            peer.multiaddr = multiaddr
        if renew_share_id:
            self._rename(peer)
        self._see(peer, now, changed=override or multiaddr is not None or renew_share_id)
        return ((Pulsed(False, override, peer.share_id if renew_share_id else None), source),)

    def alive(self, source: Source, now: float) -> Replies:
        """
        Tell a peer whether it is in the table, and keep it alive if it is.

        :param source: where the request came from.
        :param now: seconds of server time.
        :returns: :class:`StillAlive` or :class:`Expired`.
        """
        peer = self._live(source, now)
        if peer is None:
            return ((Expired(), source),)
        self._see(peer, now)
        return ((StillAlive(), source),)

    def push(self, source: Source, now: float, share_id: str) -> Replies:
        """
        Tell two peers about each other, so that they can start at the same time.

        Each learns the other's recorded address. The notice goes to the target's source and never to an address that
        the target has only claimed: its NAT holds that mapping open, and the server must not send to third parties.

        :param source: where the request came from.
        :param now: seconds of server time.
        :param share_id: the target's name.
        :returns: :class:`Pushed` to the caller, then :class:`PushNotice` to the target.
        :raises NotFound: when the caller or the target is not live.
        """
        caller = self._caller(source, now)
        self._see(caller, now)
        target = self._by_share_id.get(share_id)
        if target is None or not self._is_live(target, now):
            raise NotFound("Unknown shareId.", code="unknown-share-id")
        return (
            (Pushed(_info(target)), source),
            (PushNotice(_info(caller)), target.source),
        )

    def expire(self, now: float, at_most: int) -> int:
        """
        Free peers that are no longer live, the longest silent first.

        :param now: seconds of server time.
        :param at_most: how many, so that the time this takes is bounded.
        :returns: how many there were.
        """
        count = 0
        while self._by_source and count < at_most:
            peer = next(iter(self._by_source.values()))
            if self._is_live(peer, now):
                break
            self._remove(peer)
            count += 1
        return count

    def restore(self, peer: TrackerPeer) -> bool:
        """
        Put back a peer from the journal, without noting it; best in the order of ``last_seen``.

        :returns: whether there was room for it, and its source and name were free.
        """
        if peer.source in self._by_source or peer.share_id in self._by_share_id or len(self) >= self._max_peers:
            return False
        self._insert(peer)
        return True

    def _is_live(self, peer: TrackerPeer, now: float) -> bool:
        """Tell whether a peer's last activity is recent enough."""
        return now - peer.last_seen <= self._lifetime

    def _live(self, source: Source, now: float) -> TrackerPeer | None:
        """Find the live peer at an address, and remove one that is there no longer."""
        peer = self._by_source.get(source)
        if peer is not None and not self._is_live(peer, now):
            self._remove(peer)
            return None
        return peer

    def _caller(self, source: Source, now: float) -> TrackerPeer:
        """Find the live peer that is calling."""
        peer = self._live(source, now)
        if peer is None:
            raise NotFound("Announce first.", code="expired-caller")
        return peer

    def _see(self, peer: TrackerPeer, now: float, *, changed: bool = False) -> None:
        """Record activity, and note whatever else of the peer has changed just now."""
        peer.last_seen = now
        self._by_source.move_to_end(peer.source)
        (self._note if changed else self._touch)(peer)

    def _insert(self, peer: TrackerPeer) -> None:
        """Put a peer into the table."""
        self._by_source[peer.source] = peer
        self._by_share_id[peer.share_id] = peer
        self._shares.add(source_network(peer.source[0]))

    def _remove(self, peer: TrackerPeer) -> None:
        """Take a peer out of the table."""
        del self._by_source[peer.source]
        del self._by_share_id[peer.share_id]
        self._shares.remove(source_network(peer.source[0]))
        self._note(Removed(peer))

    def _make_room(self, source: Source, now: float) -> None:
        """Check that one more peer of a source fits, after freeing expired ones if the table is full."""
        # Two leave for each that enters, so that a table full of expired peers empties.
        self.expire(now, 2)
        if len(self) >= self._max_peers:
            raise Full("The tracker is full.", code="full-tracker", holder=self._shares.largest)
        try:
            self._shares.check(source_network(source[0]))
        except TooMany as error:
            # An answer must not be much longer than its request, whose source may be forged.
            raise TooMany("Too many peers in your network.", code=error.code) from None

    def _rename(self, peer: TrackerPeer) -> None:
        """Give a peer a new name."""
        share_id = self._draw_share_id()
        del self._by_share_id[peer.share_id]
        peer.share_id = share_id
        self._by_share_id[share_id] = peer

    def _draw_share_id(self) -> str:
        """Draw a name that is free, every character as likely as every other."""
        while True:
            share_id = ""
            while len(share_id) < SHARE_ID_SIZE:
                drawn = self._random_bytes(SHARE_ID_SIZE - len(share_id))
                share_id += "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in drawn if byte < _FAIR)
            if share_id not in self._by_share_id:
                return share_id


def _info(peer: TrackerPeer) -> PeerInfo:
    """Describe a peer to another."""
    return PeerInfo(peer.ip, peer.port, peer.share_id, peer.multiaddr)


def _written_size(text: str) -> int:
    """Count the bytes of printable text in JSON: quotes and backslashes take two."""
    return len(text.encode(errors="replace")) + text.count('"') + text.count("\\")


def _overridden(peer: TrackerPeer, ip: str | None, port: int | None) -> tuple[str, int] | None:
    """Work out what an override would record, or ``None`` if it is not allowed."""
    if ip is None and port is None:
        return None
    if port is not None and not 1 <= port <= 65535:
        return None
    host = peer.ip if ip is None else _allowed_host(peer.source[0], ip)
    return None if host is None else (host, peer.port if port is None else port)


def _allowed_host(own: str, claimed: str) -> str | None:
    """Spell a claimed host properly, or give ``None`` if it is neither the caller's own nor private."""
    try:
        host = shown(str(ip_address(claimed)))
    except ValueError:
        return None
    return host if host == shown(own) or is_private(packed(host)) else None
