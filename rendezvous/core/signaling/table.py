"""
What signaling holds: until when, at what cost, and who is notified when it changes.

This half of signaling knows no protocol and no permission. :class:`rendezvous.core.signaling.signaling.Signaling` has
the verbs of peers, :class:`rendezvous.core.signaling.sessions.Sessions` those of an Origin, and
:class:`rendezvous.core.signaling.listings.Listings` what anybody may read.

Time. ``now`` is in seconds of server time; records hold whole milliseconds. An offer is gone at its end exactly,
because every look-up filters by it. To free what has ended costs some 3 us for each topic of an offer, and a publisher
can have 100,000 offers end at one moment. So it is done in slices: a few offers with each verb, and the rest by the
sweep. Counts include what has ended as long as it is not freed.

What leaves: ``note`` is called with each record that was created (:class:`Offer`) or changed (:class:`OfferChanged`,
:class:`CandidatesAdded`, :class:`EventLogged`) and with :class:`Removed`, for a journal. ``notify`` is called with the
key of what has changed, for requests that wait: :class:`~rendezvous.core.notes.PeerEvents`,
:class:`~rendezvous.core.notes.OfferSide` and :class:`~rendezvous.core.notes.TopicChanges`. Both are called after the
change is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from rendezvous.core.notes import (
    Note,
    Notify,
    OfferSide,
    PeerEvents,
    Removed,
    TopicChanges,
    ignore_changes,
    ignore_key,
    same_clock,
)
from rendezvous.core.shares import Shares, share_of
from rendezvous.core.signaling.catalogue import Catalogue
from rendezvous.core.signaling.entries import Entry, candidates_cost
from rendezvous.core.signaling.events import Event, EventKind, EventLog, EventLogged
from rendezvous.core.signaling.memory import ANSWER_COST, Memory
from rendezvous.core.signaling.offers import OFFERS, Answer, Candidate, Offer, OfferChanged, Role
from rendezvous.core.signaling.streams import Streams
from rendezvous.core.signaling.watches import Gone, TopicNews, Watches
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import Full, NotFound
from rendezvous.limits import SignalingLimits

__all__ = ["ENDS_IN_A_VERB", "OfferTable"]

#: What a verb ends of the offers that are due, in steps: one for an offer and one for each of its topics. It is enough
#: to make room for a whole request of the largest offers.
ENDS_IN_A_VERB = 256


class OfferTable:
    """
    Every offer and session of a process, and the events that they have caused.

    :param limits: every bound but the following.
    :param max_offers: the most offers and sessions at one time.
    :param memory: the most bytes that all of it may take.
    :param share: the part of each of the two that one subscriber may hold (:func:`~rendezvous.core.shares.share_of`).
    :param note: called with each record that was created, changed or removed.
    :param wall: converts server time to the wall clock.
    :ivar notify: called with the key of what has changed; may be set later.
    :ivar events: what has happened lately.
    :ivar memory: the bytes that all of it takes.
    :ivar streams: which peers have event streams open.
    :ivar watches: which topics are watched.
    """

    def __init__(
        self,
        limits: SignalingLimits,
        max_offers: int,
        memory: int,
        share: float,
        note: Note = ignore_changes,
        notify: Notify = ignore_key,
        wall: Callable[[float], float] = same_clock,
    ) -> None:
        self.limits = limits
        self.notify = notify
        self.note = note
        self.wall = wall
        self.catalogue = Catalogue()
        self._max_offers = max_offers
        self._shares = Shares("offers and sessions", *share_of(max_offers, share))
        self.memory = Memory(memory, Shares("memory for offers", *share_of(memory, share)))
        self.events = EventLog(limits, self.memory)
        self.streams = Streams(self.catalogue, limits)
        watched = Shares("topics that are watched", *share_of(limits.watched_topics, share))
        self.watches = Watches(limits, self.events, self.memory, watched)
        self._latest_seen = 0
        self._latest_ms = 0
        self._latest_answer_ms = 0

    def change(self, max_offers: int, memory: int, share: float) -> None:
        """Use other bounds from now on. What is there already stays, and is counted."""
        self._max_offers = max_offers
        self._shares.change(*share_of(max_offers, share))
        self.memory.change(memory, share_of(memory, share))
        self.watches.shares.change(*share_of(self.limits.watched_topics, share))

    def __len__(self) -> int:
        """How many offers and sessions there are, those that have ended but are not freed yet included."""
        return len(self.catalogue)

    def __iter__(self) -> Iterator[Offer]:
        """Every offer and session, in no particular order."""
        return (entry.offer for entry in self.catalogue)

    # Look-up

    def find(self, namespace: str, offer_id: str, now: float) -> Entry:
        """
        The offer with an id.

        :raises NotFound: if there is none, it has ended, or it is in another namespace; one cannot tell which.
        """
        entry = self.catalogue.find(namespace, offer_id)
        if entry is None or entry.ends_at <= now * 1000:
            raise NotFound("There is no such offer, or it has expired.")
        return entry

    def owned(self, owner: str, now: float) -> list[Entry]:
        """The offers of a peer, most recently seen first."""
        return [entry for entry in self.catalogue.owned(owner) if entry.ends_at > now * 1000]

    def changes(self, positions: Mapping[str, int], now: float, most: int | None = None) -> TopicNews:
        """Read the changes of topics that are watched (:meth:`Watches.read`)."""

        def find(offer_id: str) -> Offer | None:
            entry = self.catalogue.find(OFFERS, offer_id)
            is_there = entry is not None and entry.offer.answer is None and entry.ends_at > now * 1000
            return entry.offer if entry is not None and is_there else None

        return self.watches.read(positions, find, most)

    # Moments

    def wall_ms(self, now: float) -> int:
        """The wall clock in ms."""
        return int(self.wall(now) * 1000)

    def moment(self, wall_ms: int) -> int:
        """The wall clock in ms, never earlier than before: what was seen later must not look older."""
        if wall_ms > self._latest_ms:
            self._latest_ms = wall_ms
        return self._latest_ms

    def place(self, now: float) -> int:
        """A place in the listings before all others: it rises strictly."""
        place = int(now * 1_000_000)
        self._latest_seen = place if place > self._latest_seen else self._latest_seen + 1
        return self._latest_seen

    def answer_moment(self, now: float) -> int:
        """The wall clock in ms, later than every answer before, so that a reader can ask for what came after one."""
        self._latest_answer_ms = max(self._latest_answer_ms + 1, self.wall_ms(now))
        return self._latest_answer_ms

    # Entry and change

    def reserve(self, source: SourceNetwork, offers: Sequence[Offer], replaced: Sequence[Offer] = ()) -> None:
        """
        See that there is room for offers.

        A source that publishes what another source has published holds it from then on. So it needs room for all of
        that in its own share: two sources together could otherwise fill the table.

        :param offers: what is to be held, all of it charged to the source.
        :param replaced: what some of them take the places of.
        :raises Full: there is not.
        :raises TooMany: the source would hold more than its share.
        """
        fresh, size = len(offers) - len(replaced), sum([offer.cost for offer in offers])
        if fresh and len(self.catalogue) + fresh > self._max_offers:
            raise Full("The server holds as many offers as it can; some will expire soon.", holder=self._shares.largest)
        refunded, kept, own_size = 0, 0, 0
        for offer in replaced:
            refunded += offer.cost
            if offer.source is source or offer.source == source:
                kept += 1
                own_size += offer.cost
        if len(offers) > kept:
            self._shares.check(source, len(offers) - kept)
        self.memory.check(source, size - refunded, size - own_size)

    def insert(self, offer: Offer, now: float, replaced: Entry | None = None) -> None:
        """
        Take in a new offer for which there is room.

        :param replaced: what has its id until now; otherwise the id is free.
        """
        if replaced is not None:
            self.drop(replaced)
        self._admit(Entry(offer), now)
        self.note(offer)
        if self.watches:
            self._show(offer, now, () if replaced is None else replaced.offer.topics)

    def _admit(self, entry: Entry, now: float) -> None:
        offer = entry.offer
        entry.ends_at = self.streams.end_of(offer, now)
        self.catalogue.add(entry)
        self._shares.add(offer.source)
        self.memory.charge(offer.source, offer.cost)

    def replace(self, entry: Entry, offer: Offer, fields: tuple[str, ...], now: float) -> None:
        """
        Change an offer in place.

        :param offer: how it is from now on.
        :param fields: what differs.
        """
        held = entry.offer
        if held.topics == offer.topics:
            entry.offer = offer
            self.catalogue.touch(entry)
            self.catalogue.reschedule(entry, self.streams.end_of(offer, now))
        else:
            self.catalogue.remove(entry)
            entry.offer, entry.ends_at = offer, self.streams.end_of(offer, now)
            self.catalogue.add(entry)
        if held.source is not offer.source:
            self._shares.remove(held.source)
            self._shares.add(offer.source)
        if held.source is not offer.source or held.cost != offer.cost:
            self.memory.refund(held.source, held.cost)
            self.memory.charge(offer.source, offer.cost)
        self.note(OfferChanged(offer, fields))
        if self.watches:
            self._show(offer, now, held.topics)

    def _show(self, offer: Offer, now: float, before: Sequence[str]) -> None:
        """
        Write down for those who watch that an offer was published.

        :param before: the topics in which it was until now.
        """
        left = [topic for topic in before if topic not in offer.topics]
        for topic in self.watches.vanished(offer, left, Gone.WITHDRAWN, now):
            self.notify(TopicChanges(topic))
        for topic in self.watches.appeared(offer, now):
            self.notify(TopicChanges(topic))

    def touch(self, entry: Entry, offer: Offer) -> None:
        """Move an offer to the front of every listing; only ``last_seen`` and ``seen`` differ."""
        entry.offer = offer
        self.catalogue.touch(entry)
        self.note(OfferChanged(offer, ("last_seen", "seen")))

    def lock(self, entry: Entry, answer: Answer, source: SourceNetwork, now: float) -> Offer:
        """
        Give an offer its answer.

        :returns: how it is from now on.
        """
        self.catalogue.lock(entry)
        entry.offer = attrs.evolve(entry.offer, answer=answer)
        self._charge(entry, source, ANSWER_COST + len(answer.sdp))
        self.note(OfferChanged(entry.offer, ("answer",)))
        for topic in self.watches.vanished(entry.offer, entry.offer.topics, Gone.ANSWERED, now):
            self.notify(TopicChanges(topic))
        return entry.offer

    def attach(self, entry: Entry, candidates: Sequence[Candidate], source: SourceNetwork) -> None:
        """Give an offer more candidates."""
        for candidate in candidates:
            entry.attach(candidate)
        self._charge(entry, source, candidates_cost(candidates))

    def _charge(self, entry: Entry, source: SourceNetwork, amount: int) -> None:
        entry.charge(source, amount)
        self.memory.charge(source, amount)

    # Ends

    def expire(self, now: float, at_most: int = ENDS_IN_A_VERB) -> int:
        """
        End what is due, and drop events that are too old.

        :param at_most: how many steps: one for an offer and one for each of its topics. The next call goes on.
        :returns: how many offers ended.
        """
        self.events.trim(now)
        self.watches.trim(now)
        now_ms = int(now * 1000)
        ended: list[Offer] = []
        while at_most > 0 and (entry := self.catalogue.due(now_ms)) is not None:
            at_most -= 1 + len(entry.offer.topics)
            # An offer that ends with the streams of its owner ends as if its owner had withdrawn it.
            early = entry.ends_at < entry.offer.expires_at
            self.end(entry, EventKind.WITHDRAWN if early else EventKind.EXPIRED, now)
            ended.append(entry.offer)
        # Notify last: a waiter that is notified looks at once, and would end the next offer while this one is ending.
        for offer in ended:
            self.notify_end(offer)
        return len(ended)

    def is_due(self, now: float) -> bool:
        """Whether there is more to end."""
        return self.catalogue.due(int(now * 1000)) is not None

    def end(self, entry: Entry, kind: EventKind, now: float) -> None:
        """Take an offer out and write its end down; the caller notifies."""
        self.drop(entry)
        offer = entry.offer
        if offer.answer is None:
            self.watches.vanished(offer, offer.topics, Gone(kind.value), now)
        peers = [offer.peer(Role.ANSWERER)]
        if kind is EventKind.EXPIRED:
            peers.append(offer.owner)
        for peer in filter(None, peers):
            self.log_event(peer, Event(self.events.draw(now), kind, offer.id, offer.topics, None, offer.source), now)

    def drop(self, entry: Entry) -> None:
        """Take an offer out without an event."""
        offer = entry.offer
        self.catalogue.remove(entry)
        self._shares.remove(offer.source)
        self.memory.refund(offer.source, offer.cost)
        for source, amount in (entry.charges or {}).items():
            self.memory.refund(source, amount)
        self.note(Removed(offer))

    # Start-up

    def restore(self, entries: Iterable[Entry], now: float) -> None:
        """
        Take back what a journal has kept, on an empty table, without noting it.

        What was answered and added is charged to no source: only that of the offer itself is kept.

        :param entries: in any order, each with its answer and its candidates (:meth:`Entry.attach`). They may be more
            than the bound allows; then nothing new is taken in until enough have ended.
        """
        for entry in sorted(entries, key=lambda entry: entry.offer.seen):
            offer = entry.offer
            self._latest_seen = max(self._latest_seen, offer.seen)
            self._latest_ms = max(self._latest_ms, offer.last_seen)
            self._admit(entry, now)
            if offer.answer is not None:
                self._latest_answer_ms = max(self._latest_answer_ms, offer.answer.answered_at)
                self._charge(entry, UNKNOWN, ANSWER_COST + len(offer.answer.sdp))
            for role in Role:
                if entry.candidates(role):
                    self._charge(entry, UNKNOWN, candidates_cost(entry.candidates(role)))

    def restore_events(self, logged: Iterable[EventLogged], horizon: int, now: float) -> None:
        """
        Take back the events, so that every stream resumes as if there had been no restart.

        :param logged: in order of their numbers.
        :param horizon: what ``events.horizon`` was.
        """
        for each in logged:
            self.events.restore(each.peer, each.event)
        self.events.resume(horizon, now)

    # Events and notifications

    def log_event(self, peer: str, event: Event, now: float) -> None:
        """Write an event down for a peer, if it has a name."""
        if peer:
            self.events.add(peer, event, now)
            self.note(EventLogged(peer, event))

    def notify_end(self, offer: Offer) -> None:
        """Notify the requests that wait for either side of an offer that has ended, and those that watch its topics."""
        for role in Role:
            self.notify_side(offer, role)
        for topic in self.watches.watched(offer) if offer.answer is None else ():
            self.notify(TopicChanges(topic))

    def notify_side(self, offer: Offer, role: Role) -> None:
        """Notify the requests that wait for one side."""
        self.notify(OfferSide(offer.namespace, offer.id, role))
        peer = offer.peer(role)
        if peer:
            self.notify(PeerEvents(peer))
