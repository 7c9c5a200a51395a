"""
What signaling holds: until when, and who is notified when it changes.

This half of signaling knows no protocol and no permission. :class:`rendezvous.core.signaling.Signaling` adds the
verbs of peers and :class:`rendezvous.core.sessions.Sessions` those of an Origin.

Time. ``now`` is in seconds since the epoch; records hold whole milliseconds. Every verb first ends what is due, so an
offer is gone at its ``expires_at`` exactly, whether or not anything swept. An end costs one step in a sorted list, and
a verb pays only for what has ended since the last one.

What leaves: ``note`` is called with each record that was created or changed (:class:`Offer`,
:class:`CandidatesAdded`, :class:`EventLogged`) and with :class:`Removed`, for a journal. ``notify`` is called with the
key of what has changed, for requests that wait: :class:`~rendezvous.core.notes.PeerEvents` and
:class:`~rendezvous.core.notes.OfferSide`. Both are called after the change is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rendezvous.core.catalogue import Catalogue
from rendezvous.core.events import Event, EventKind, EventLog, EventLogged
from rendezvous.core.notes import Note, Notify, OfferSide, PeerEvents, Removed, ignore_changes, ignore_key
from rendezvous.core.offers import Offer, Role
from rendezvous.errors import Full, NotFound
from rendezvous.limits import SignalingLimits

__all__ = ["OfferTable"]


class OfferTable:
    """
    Every offer and session of a process, and the events that they have caused.

    :param limits: every bound but the following.
    :param max_offers: the most offers and sessions at one time.
    :param note: called with each record that was created, changed or removed.
    :ivar ring: called with the key of whoever has news; may be set later.
    """

    def __init__(
        self,
        limits: SignalingLimits,
        max_offers: int = 100_000,
        note: Note = ignore_changes,
        notify: Notify = ignore_key,
    ) -> None:
        self.limits = limits
        self.notify = notify
        self._max_offers = max_offers
        self._note = note
        self._catalogue = Catalogue()
        self._events = EventLog(limits.event_linger, limits.events_per_peer, limits.events_kept)
        self._latest_ms = 0
        self._latest_answer_ms = 0

    def __len__(self) -> int:
        """How many offers and sessions there are, those that are due but not yet ended included."""
        return len(self._catalogue)

    def __iter__(self) -> Iterator[Offer]:
        """Every offer and session, in no particular order."""
        return iter(self._catalogue)

    # Look-up and entry

    def find(self, namespace: str, offer_id: str, now: float) -> Offer:
        """
        The offer with an id.

        :raises NotFound: if there is none, it has ended, or it is in another namespace; one cannot tell which.
        """
        self.expire(now)
        offer = self._catalogue.find(namespace, offer_id)
        if offer is None:
            raise NotFound("There is no such offer, or it has expired.")
        return offer

    def reserve(self, fresh: int) -> None:
        """
        See that there is room.

        :param fresh: how many offers are to be inserted.
        :raises Full: if there is not.
        """
        if fresh and len(self) + fresh > self._max_offers:
            raise Full("The server holds as many offers as it can; some will expire soon.")

    def holds(self, namespace: str, offer_id: str) -> bool:
        """Whether an id is in use, as of the last verb."""
        return self._catalogue.find(namespace, offer_id) is not None

    def moment(self, now: float) -> int:
        """The present in ms, never earlier than before: a clock that steps back must not shuffle the listings."""
        self._latest_ms = max(self._latest_ms, int(now * 1000))
        return self._latest_ms

    def insert(self, offer: Offer) -> None:
        """Take in a new offer whose id is free and for which there is room."""
        self._catalogue.add(offer)
        self._note(offer)

    # Events

    @property
    def latest(self) -> int:
        """The number of the latest event: the cursor of a stream that begins now."""
        return self._events.latest

    def events_since(self, peer: str, seq: int, now: float) -> list[Event]:
        """What happened to the offers that a peer takes part in, after the event with this number, in order."""
        self.expire(now)
        return self._events.since(peer, seq, now)

    def can_replay(self, peer: str, seq: int, now: float) -> bool:
        """Whether :meth:`events_since` misses nothing after this number; if not, the peer must read its offers anew."""
        self.expire(now)
        return self._events.covers(peer, seq, now)

    @property
    def horizon(self) -> int:
        """The least number from which every peer can resume."""
        return self._events.horizon

    @property
    def dropped(self) -> int:
        """:returns: up to which number no event is kept any more, whoever it was for."""
        return self._events.dropped

    # Ends

    def expire(self, now: float) -> int:
        """
        End what is due.

        :returns: how many offers ended.
        """
        self._events.trim(now)
        now_ms = int(now * 1000)
        ended: list[Offer] = []
        while (offer := self._catalogue.due(now_ms)) is not None:
            self._end(offer, EventKind.EXPIRED, now)
            ended.append(offer)
        # Only now: who is woken looks at once, and would end the next offer from within this one's end, and so on.
        for offer in ended:
            self._notify_both(offer)
        return len(ended)

    def _end(self, offer: Offer, kind: EventKind, now: float) -> None:
        """Take an offer out and write its end down; the caller rings."""
        self._drop(offer)
        event = Event(self._events.draw(now), kind, offer.id, offer.topics)
        if kind is EventKind.EXPIRED:
            self._log_event(offer.owner, event, now)
        self._log_event(offer.peer(Role.ANSWERER), event, now)

    def _drop(self, offer: Offer) -> None:
        self._catalogue.remove(offer)
        self._note(Removed(offer))

    # Start-up

    def restore(self, offers: Iterable[Offer]) -> None:
        """
        Take back what a journal has kept, on an empty signaling, without noting it.

        :param offers: in any order, each with its answer and its candidates (:meth:`Offer.attach`). They may be more
            than the bound allows; then nothing new is taken in until enough have ended.
        """
        for offer in sorted(offers, key=lambda offer: offer.last_seen):
            self._latest_ms = max(self._latest_ms, offer.last_seen)
            if offer.answer is not None:
                self._latest_answer_ms = max(self._latest_answer_ms, offer.answer.answered_at)
            self._catalogue.add(offer)

    def restore_events(self, told: Iterable[EventLogged], horizon: int, pause: float, now: float) -> None:
        """
        Take back the events, so that every stream resumes as if there had been no pause.

        :param told: in order of their numbers.
        :param horizon: what :attr:`horizon` was.
        :param pause: seconds for which nobody could ask.
        """
        for each in told:
            self._events.restore(each.peer, each.event, pause)
        self._events.resume(horizon, now)

    def _log_event(self, peer: str, event: Event, now: float) -> None:
        if peer:
            self._events.add(peer, event, now)
            self._note(EventLogged(peer, event))

    def _notify_both(self, offer: Offer) -> None:
        for role in Role:
            self._notify_side(offer, role)

    def _notify_side(self, offer: Offer, role: Role) -> None:
        self.notify(OfferSide(offer.namespace, offer.id, role))
        peer = offer.peer(role)
        if peer:
            self.notify(PeerEvents(peer))
