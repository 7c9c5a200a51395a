"""
What one process knows: clients, offers and sessions, tracker peers.

Nothing here knows of storage or of requests that wait. The tables report what they change to three callables. The
owner of the tables sets them (:meth:`Tables.report_to`); until then nothing is reported.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from socket import AF_INET6, inet_aton, inet_pton

import attrs

from rendezvous.core.addresses import IPV4_MAPPED
from rendezvous.core.attempts.attempt import Attempt, AttemptView, Facilities, Given, Invitation
from rendezvous.core.attempts.attempts import Attempts
from rendezvous.core.attempts.table import AttemptTable
from rendezvous.core.bans import MAX_BANS, Ban, Bans
from rendezvous.core.identity import CLIENT_ID_SIZE, Credential, Keyring
from rendezvous.core.notes import Key, Note, Notify, PeerEvents, ignore_changes, ignore_key, same_clock
from rendezvous.core.presence.flat import Flat, flat_memory
from rendezvous.core.presence.history import Happened
from rendezvous.core.presence.logouts import Logouts
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PresenceState, Timers
from rendezvous.core.shares import Shares, share_of
from rendezvous.core.signaling.events import invited
from rendezvous.core.signaling.listings import Listings
from rendezvous.core.signaling.sessions import Sessions
from rendezvous.core.signaling.signaling import Signaling
from rendezvous.core.signaling.specs import characters
from rendezvous.core.signaling.table import OfferTable
from rendezvous.core.signaling.watches import Watch
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.core.tracker import Tracker
from rendezvous.errors import NotFound
from rendezvous.limits import AttemptLimits, Bounds, SignalingLimits
from rendezvous.model import Events, ObservedAddress, PeerStatus, Swept
from rendezvous.wire.demux import mistakable

__all__ = ["Tables", "pack"]


# What pair keys are derived from, with the id of the attempt: more bytes than a client id, so no client has such a key.
_PAIR_KEY = b"pair key of attempt "

#: Deadlines of clients that one slice of a sweep looks at, at most: 2 to 3 ms where all of them have to be removed.
SWEEP_SIZE = 300

#: Offers that one slice ends, each counted once and once more for each of its topics: some 5 ms.
SWEEP_STEPS = 1000


def pack(host: str) -> bytes:
    """Do what :func:`~rendezvous.core.addresses.packed` does, several times as fast, for what sockets say."""
    if ":" not in host:
        return inet_aton(host)
    address = inet_pton(AF_INET6, host.partition("%")[0])
    return address[12:] if address.startswith(IPV4_MAPPED) else address


class Tables:
    """
    All tables of a process, and the decisions that need more than one of them.

    :param random: gives that many random bytes.
    :param max_logouts: how many logouts are remembered; ``None`` for as many as there may be clients.
    :param bounds: how much is held; :meth:`change` gives others.
    :param wall: converts server time to the wall clock.
    :param flat: reserves the memory of the clients.
    :ivar wall: converts server time to the wall clock.
    :ivar bounds: how much is held.
    :ivar presence: the clients; always the same object, also after :meth:`clear`.
    :ivar bans: all bans; always the same object, too.
    :ivar offers: offers and sessions, and the events that they cause.
    :ivar signaling: the verbs of peers on ``offers``.
    :ivar listings: what may be read of them.
    :ivar sessions: the verbs of the sessions protocol.
    :ivar tracker: the peers of the tracker.
    :ivar attempts: the verbs of clients that connect.
    :ivar attempt_table: what they are about.
    :ivar on_due: called when something is due for an attempt earlier than was said.
    """

    def __init__(
        self,
        keyring: Keyring,
        random: Callable[[int], bytes],
        timers: Timers,
        *,
        bounds: Bounds,
        logout_memory: float,
        limits: SignalingLimits,
        tracker_lifetime: float,
        max_logouts: int | None = None,
        wall: Callable[[float], float] = same_clock,
        flat: Flat = flat_memory,
    ) -> None:
        self.keyring = keyring
        self.limits = limits
        self._random = random
        self.bounds = bounds
        self._tracker_lifetime = tracker_lifetime
        self.wall = wall
        self.report_to(ignore_changes, ignore_changes, ignore_key)
        most = bounds.max_clients if max_logouts is None else max_logouts
        self.presence = Presence(
            timers,
            keyring,
            max_clients=bounds.max_clients,
            logouts=Logouts(logout_memory, most, self._shares("remembered logouts", most), self._reported),
            shares=self._shares("clients", bounds.max_clients),
            note=self._reported,
            wall=wall,
            pack=pack,
            salt=int.from_bytes(random(8)),
            flat=flat,
        )
        self.bans = Bans(self._reported, wall)
        # The ids of banned clients by their keys: a credential may have nothing but the key.
        self._banned_keys: dict[bytes, bytes] = {}
        self.on_due: Callable[[], None] = lambda: None
        self._facilities = Facilities()
        self._make_signaling()

    def _make_signaling(self) -> None:
        bounds = self.bounds
        self.offers = OfferTable(
            self.limits,
            bounds.max_offers,
            bounds.signaling_memory,
            bounds.share,
            self._reported,
            self._notified,
            self.wall,
        )
        self.signaling = Signaling(self.offers)
        self.listings = Listings(self.offers)
        self.sessions = Sessions(self.offers, self._new_code)
        self.tracker = Tracker(
            self._random,
            lifetime=self._tracker_lifetime,
            max_peers=bounds.max_tracker_peers,
            shares=self._shares("tracker peers", bounds.max_tracker_peers),
            note=self._reported,
            touch=self._touched,
        )
        self.attempt_table = AttemptTable(
            _attempt_limits(bounds),
            bounds.max_attempts,
            bounds.share,
            self._random,
            self.offers.events.draw,
            self._pair_key,
            self._reported,
            self._touched,
            self._notified,
            self.wall,
        )
        self.attempt_table.facilities = self._facilities
        self.attempt_table.on_due = lambda: self.on_due()
        self.attempts = Attempts(self.attempt_table)

    def clear(self) -> None:
        """Forget everything, without reporting it."""
        self.presence.clear()
        self.bans.clear()
        self._banned_keys.clear()
        self._make_signaling()

    def report_to(self, note: Note, touch: Note, notify: Notify) -> None:
        """
        Say where changes are reported.

        :param note: called with each record that is new or has changed, and with what has ended.
        :param touch: called with each record whose change no one waits for.
        :param notify: called with the key of what has changed, for requests that wait.
        """
        self._note, self._touch, self._notify = note, touch, notify

    def change(self, bounds: Bounds) -> None:
        """Use other bounds from now on. What is there already stays, and is counted."""
        self.bounds = bounds
        self.presence.change(bounds.max_clients, share_of(bounds.max_clients, bounds.share))
        self.offers.change(bounds.max_offers, bounds.signaling_memory, bounds.share)
        self.tracker.change(bounds.max_tracker_peers, share_of(bounds.max_tracker_peers, bounds.share))
        self.attempt_table.change(_attempt_limits(bounds), bounds.max_attempts, bounds.share)

    def use_facilities(self, facilities: Facilities) -> None:
        """Say what the server has for clients that connect."""
        self._facilities = self.attempt_table.facilities = facilities

    # Decisions

    def register(self, now: float, source: SourceNetwork) -> tuple[bytes, bytes]:
        """:returns: the id and the key of a new client."""
        client_id, key = self.keyring.draw(self._random, mistakable)
        self.presence.register(client_id, key, now, source)
        self._happened(Happened.REGISTERED, client_id, now)
        return client_id, key

    def verify(self, client_id: bytes, now: float) -> None:
        """Take a late client back. What changes nothing is not written down: a client may verify again and again."""
        slot = self.presence.slot_of(client_id, now)
        was_late = bool(slot) and self.presence.state(slot, now) is PresenceState.PENDING
        self.presence.verify(client_id, now)
        if was_late:
            self._happened(Happened.VERIFIED, client_id, now)

    def _happened(self, kind: Happened, client_id: bytes, now: float) -> None:
        history = self.presence.history
        if history is not None:
            history.add(kind, client_id, now)

    def logout(self, client_id: bytes, now: float, source: SourceNetwork, kind: Happened = Happened.LOGGED_OUT) -> None:
        """End a client, its credential and its offers. Requests that wait in its name learn that they may not."""
        self._happened(kind, client_id, now)
        self.presence.logout(client_id, now, source)
        self.signaling.end_peer(client_id.hex(), now)
        self.attempts.leave(client_id, now)
        self._notified(PeerEvents(client_id.hex()))

    def kick(self, client_id: bytes, now: float) -> None:
        """
        End a client as if it had logged out.

        :raises NotFound: ``no-such-client``.
        """
        if not self.presence.slot_of(client_id, now):
            raise NotFound("There is no such client: it never was here, or has left.", code="no-such-client")
        self.logout(client_id, now, UNKNOWN, Happened.KICKED)

    def ban(self, target: str, seconds: float | None, reason: str, now: float) -> Ban:
        """:returns: a new ban, of a network, or of a client, which is ended as if it had logged out."""
        ban = self.bans.begin(target, seconds, reason, now)
        if ban.client_id is not None:
            self._remember_key(ban.client_id)
            self.logout(ban.client_id, now, UNKNOWN, Happened.BANNED)
        return ban

    def restore_ban(self, ban: Ban) -> None:
        """Take back a ban that was kept."""
        self.bans.restore(ban)
        if ban.client_id is not None:
            self._remember_key(ban.client_id)

    def check_ban(self, credential: Credential, now: float) -> None:
        """
        Refuse the credential of a banned client. Only a sender with the right credential learns of the ban.

        :raises Forbidden: ``banned``.
        """
        client_id, key = credential.client_id, credential.key
        if client_id is None:
            client_id = self._banned_keys.get(key)
        elif not self.keyring.proves(client_id, key, self.wall(now)):
            client_id = None
        if client_id is not None:
            self.bans.check_client(client_id, now)

    def _remember_key(self, client_id: bytes) -> None:
        key = self.keyring.key(client_id)
        self._banned_keys.pop(key, None)
        if len(self._banned_keys) >= MAX_BANS:
            # Those of bans that were lifted are still there.
            held = self._banned_keys.items()
            self._banned_keys = {each: its_id for each, its_id in held if self.bans.has_target(its_id.hex())}
        self._banned_keys[key] = client_id

    def address(self, client_id: bytes, now: float) -> ObservedAddress:
        """:returns: where a client's pulses come from."""
        address = self.presence.columns.address(self._slot(client_id, now))
        if address is None:
            raise NotFound("This peer has no address yet: it has not sent a pulse.", code="no-address")
        return ObservedAddress(*address)

    def status(self, client_id: bytes, now: float) -> PeerStatus:
        """:returns: whether a client is there, and since when it was last."""
        slot = self._slot(client_id, now)
        last_pulse = self.presence.columns.last_pulse(slot)
        return PeerStatus(
            online=self.presence.state(slot, now) is PresenceState.ONLINE,
            last_online=None if last_pulse is None else max(0.0, now - last_pulse),
        )

    def events_since(self, peer: str, seq: int | None, now: float, topics: Mapping[str, int]) -> Events:
        """
        :param seq: a number; ``None`` for the latest of all.
        :param topics: those whose changes are read, each with the number before which nothing is read.
        :returns: a peer's events after a number, and the changes of topics.
        """
        self.offers.expire(now)
        kept = self.offers.events
        given = kept.latest if seq is None else seq
        complete = kept.covers(peer, given, now)
        # A number from an earlier life of the server: all that there is comes after it.
        start = given if given <= kept.latest else 0
        events = kept.since(peer, start, now)
        invitations = [each for each in self._invitations(peer, now) if each.seq > start]
        if invitations:
            events = sorted([*events, *map(invited, invitations)], key=attrgetter("seq"))
        if not topics:
            return Events(events, complete, events[-1].seq if events else max(start, kept.latest))
        news = self.offers.changes({topic: max(begin, given) for topic, begin in topics.items()}, now)
        if news.until is None:
            return Events(events, complete, max(start, kept.latest), news.events, news.missed)
        until = news.until
        before = [each for each in events if each.seq <= until]
        return Events(before, complete, until, news.events, news.missed, True)

    def watch(self, topic: str, now: float, source: SourceNetwork) -> Watch:
        """:returns: a watch of a topic, to be closed."""
        return self.offers.watches.watch(characters(topic, "topic", self.limits.topic_chars), source, now)

    def begin_attempt(
        self, client_id: bytes, peer: bytes, given: Given, now: float, source: SourceNetwork
    ) -> AttemptView:
        """:returns: a new attempt of a client to connect to a peer."""
        if not self.presence.slot_of(peer, now):
            raise NotFound("No such peer: it never was here, or has left.", code="no-such-peer")
        return self.attempts.begin(client_id, peer, given, now, source)

    def restore_attempts(self, attempts: Iterable[Attempt], now: float, secret: object) -> None:
        """
        Take back the attempts of an earlier life of the server.

        :param secret: the name of the secret that was in use then (:meth:`Keyring.fingerprints`).
        """
        digest = self.keyring.key_before(secret)
        key_before = None if digest is None else lambda attempt_id: digest(_PAIR_KEY + attempt_id)
        self.attempt_table.restore(attempts, now, key_before)

    def _invitations(self, peer: str, now: float) -> list[Invitation]:
        # Peers of offers may have any name; only clients are invited.
        return self.attempts.invitations(bytes.fromhex(peer), now) if len(peer) == 2 * CLIENT_ID_SIZE else []

    def _pair_key(self, attempt_id: bytes) -> bytes:
        # It is in no file.
        return self.keyring.key(_PAIR_KEY + attempt_id)

    def sweep(self, now: float) -> Swept:
        """Free a slice of what has expired."""
        clients = self.presence.sweep(now, SWEEP_SIZE)
        tracker_peers = self.tracker.expire(now, SWEEP_SIZE)
        self.bans.sweep(now)
        return Swept(
            clients=clients,
            offers=self.offers.expire(now, SWEEP_STEPS),
            tracker_peers=tracker_peers,
            more=self.presence.is_due(now) or self.offers.is_due(now) or tracker_peers == SWEEP_SIZE,
        )

    def __bool__(self) -> bool:
        """:returns: whether there is anything that time matters to."""
        return bool(len(self.presence) or len(self.offers) or len(self.tracker) or len(self.attempt_table))

    def _slot(self, client_id: bytes, now: float) -> int:
        slot = self.presence.slot_of(client_id, now)
        if not slot:
            raise NotFound("No such peer: it never was here, or has left.")
        return slot

    def _shares(self, what: str, size: int) -> Shares:
        return Shares(what, *share_of(size, self.bounds.share))

    def _new_code(self) -> str:
        return str(uuid.UUID(bytes=self._random(16), version=4))

    # The tables are made before it is known where they report to.

    def _reported(self, record: object) -> None:
        self._note(record)

    def _touched(self, record: object) -> None:
        self._touch(record)

    def _notified(self, key: Key) -> None:
        self._notify(key)


def _attempt_limits(bounds: Bounds) -> AttemptLimits:
    limits = AttemptLimits(per_minute=bounds.attempts_per_minute)
    # Without a share, no limit counts sources.
    if bounds.share:
        return limits
    return attrs.evolve(limits, invitations_of_source=limits.invitations, accepted_of_source=limits.accepted)
