"""
The table of attempts to connect: which there are, for how long, what is due for them, and who is notified.

``note`` is called with an attempt that must be kept before the decision is answered, and with
:class:`~rendezvous.core.notes.Removed`; ``touch`` with one whose change no one waits for. ``notify`` is
called with the key of what has changed, for requests that wait. What is due later, such as a repeated invitation, comes
from :meth:`AttemptTable.due`. The verbs of clients are in :mod:`rendezvous.core.attempts.attempts`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from operator import attrgetter, itemgetter

import attrs
from sortedcontainers import SortedList

from rendezvous.core.attempts.attempt import AddressCheck, Attempt, AttemptView, Ended, Facilities, Invite, Side
from rendezvous.core.attempts.progress import advance, conclude, due_at, ended_as, sends, start_checks, view
from rendezvous.core.attempts.records import AttemptRecord, EndedAttempts, record_of
from rendezvous.core.connect import AttemptState
from rendezvous.core.notes import AttemptSide, Note, Notify, Removed, ignore_changes, ignore_key, same_clock
from rendezvous.core.shares import Shares, share_of
from rendezvous.core.slidingwindow import SlidingWindow
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import Conflict, Full, TooMany
from rendezvous.limits import AttemptLimits

__all__ = ["AttemptTable", "Due"]

#: Attempts that :meth:`AttemptTable.due` looks at in one call, at some 20 us each, or 400 us each if they have as many
#: candidates and observations as they may.
DUE_AT_ONCE = 20

#: By how much versions grow at a restart: the file may lack the latest changes that a client has seen.
RESTART_STEP = 1000


@attrs.frozen
class Due:
    """
    What is due.

    :ivar sends: datagrams.
    :ivar next: when something will be due again, in server time; ``None`` if there is nothing to wait for.
    :ivar ended: the attempts that have ended since the last time.
    """

    sends: list[Invite | AddressCheck]
    next: float | None
    ended: list[Ended]


class AttemptTable:
    """
    Every attempt of a process, those that have ended a short while ago included.

    :param most: how many attempts there may be.
    :param share: the part of them that one subscriber may hold.
    :param random: gives that many random bytes.
    :param draw: gives the number of an event.
    :param pair_key: gives the pair key of an attempt by its id.
    :param wall: converts server time to the wall clock.
    :ivar limits: the bounds of attempts.
    :ivar notify: called with the key of what has changed.
    :ivar facilities: what the server has for clients that connect; may be set at any time.
    :ivar on_due: called without arguments when something is due earlier than :meth:`due` has said, and when an attempt
        has ended.
    """

    def __init__(
        self,
        limits: AttemptLimits,
        most: int,
        share: float,
        random: Callable[[int], bytes],
        draw: Callable[[float], int],
        pair_key: Callable[[bytes], bytes],
        note: Note = ignore_changes,
        touch: Note = ignore_changes,
        notify: Notify = ignore_key,
        wall: Callable[[float], float] = same_clock,
    ) -> None:
        self.limits = limits
        self._most = most
        self._random = random
        self._draw_event = draw
        self._pair_key = pair_key
        self._note, self._touch, self.notify, self._wall = note, touch, notify, wall
        self._shares = Shares("attempts", *share_of(most, share))
        self._begun: SlidingWindow[bytes] = SlidingWindow(limits.per_minute, 60.0, 2 * max(1, most))
        self._by_id: dict[bytes, Attempt] = {}
        self._restored_keys: dict[bytes, bytes] = {}
        # Of each client, the attempts that go on and that it takes part in, and those that it is invited to.
        self._going: dict[bytes, dict[Attempt, None]] = {}
        self._invited: dict[bytes, dict[Attempt, None]] = {}
        self._due: SortedList[tuple[float, bytes]] = SortedList()
        self._ended: list[Ended] = []
        self._history = EndedAttempts()
        self.facilities = Facilities()
        self.on_due: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        """How many attempts there are; those that have ended count until they are forgotten."""
        return len(self._by_id)

    def change(self, limits: AttemptLimits, most: int, share: float) -> None:
        """Use other bounds from now on. What is there already stays, and is counted."""
        self.limits, self._most = limits, most
        self._begun.most = limits.per_minute
        self._shares.change(*share_of(most, share))

    # What is due

    def due(self, now: float) -> Due:
        """:returns: what is due, of at most :data:`DUE_AT_ONCE` attempts; it counts as sent."""
        found: list[Invite | AddressCheck] = []
        # What is done for an attempt moves it in the list, so these are taken out of it first.
        for _, attempt_id in list(islice(self._due.irange(None, (now, b"\xff" * 9)), DUE_AT_ONCE)):
            attempt = self._by_id[attempt_id]
            self._settle(attempt, now)
            if attempt_id in self._by_id:
                # It was reported when it was settled. What is written then counts what is sent here.
                found += sends(attempt, now, self.limits)
                self.schedule(attempt, now)
        ended, self._ended = self._ended, []
        return Due(found, self._due[0][0] if self._due else None, ended)

    def restore(
        self, attempts: Iterable[Attempt], now: float, key_before: Callable[[bytes], bytes] | None = None
    ) -> None:
        """
        Take back what was kept in an earlier life of the server.

        An observation is taken only if its time is later than the restart, whether or not the file has the last one.
        So a copy of one from before the restart is taken only if the clock of its client is ahead.

        :param key_before: gives the pair key of an attempt of that life, if they were other ones: the secret has been
            replaced. One side may have its key already, and the other one must get the same.
        """
        begun_at = int(self._wall(now) * 1000)
        for attempt in attempts:
            self.enter(attempt)
            if key_before is not None:
                self._restored_keys[attempt.id] = key_before(attempt.id)
            if attempt.state is AttemptState.OBSERVING:
                attempt.joined = now  # Requests and datagrams that were lost are repeated by then.
            for side in attempt:
                side.version += RESTART_STEP
                side.latest = dict.fromkeys(range(2), begun_at)
                side.shown = hash(view(attempt, side, self._key_of, self.limits, self.facilities))
            self.schedule(attempt, now)

    # For the verbs

    def held(self, attempt_id: bytes) -> Attempt | None:
        """:returns: an attempt, as it was when it was last looked at."""
        return self._by_id.get(attempt_id)

    def find(self, attempt_id: bytes, now: float) -> Attempt | None:
        """:returns: an attempt as it is now."""
        attempt = self._by_id.get(attempt_id)
        if attempt is not None:
            self._settle(attempt, now)
        return self._by_id.get(attempt_id)

    def joined(self, client_id: bytes, now: float) -> list[Attempt]:
        """:returns: the attempts that go on and that a client takes part in."""
        for attempt in list(self._going.get(client_id, ())):
            self._settle(attempt, now)
        return list(self._going.get(client_id, ()))

    def invited(self, client_id: bytes, now: float) -> list[Attempt]:
        """:returns: the attempts that a client is invited to, the oldest first."""
        for attempt in list(self._invited.get(client_id, ())):
            self._settle(attempt, now)
        return list(self._invited.get(client_id, ()))

    def check_room_to_accept(self, attempt: Attempt, now: float) -> None:
        """
        See that the invited client may take part in an attempt. Clients of one network must not keep all others out.

        :raises Conflict: ``too-many-attempts``.
        """
        client_id, source, limits = attempt.controlled.client_id, attempt.source, self.limits
        accepted = [each for each in self.joined(client_id, now) if each.controlled.client_id == client_id]
        same = sum(each.source == source for each in accepted) if source is not UNKNOWN else 0
        if len(accepted) >= limits.accepted or same >= limits.accepted_of_source:
            raise Conflict(
                f"A client may take part in {limits.accepted} attempts of others at a time, {limits.accepted_of_source}"
                " of them of one network.",
                code="too-many-attempts",
            )

    def admit(self, client_id: bytes, peer: bytes, now: float, source: SourceNetwork) -> None:
        """
        See that a client may begin an attempt, and count it.

        :raises Conflict: ``too-many-attempts``.
        :raises TooMany: ``attempt-rate``, ``too-many-invitations`` that wait at the peer, or ``source-share``.
        :raises Full: ``full-attempts``.
        """
        limits = self.limits
        if sum(each.controlling.client_id == client_id for each in self.joined(client_id, now)) >= limits.at_once:
            raise Conflict(f"A client may begin {limits.at_once} attempts at a time.", code="too-many-attempts")
        crowding = self._crowding(self.invited(peer, now), source)
        if len(self._by_id) >= self._most:
            raise Full("The server has as many attempts as it can.", code="full-attempts", holder=self._shares.largest)
        self._shares.check(source)
        wait = self._begun.take(client_id, now)
        if wait:
            raise TooMany(
                f"A client may begin {self.limits.per_minute} attempts within a minute.",
                code="attempt-rate",
                retry_after=math.ceil(wait),
            )
        if crowding is not None:
            self.conclude(crowding, AttemptState.EXPIRED, now)

    def _crowding(self, waiting: list[Attempt], source: SourceNetwork) -> Attempt | None:
        """
        Look whether one more invitation may wait at a client. Several networks together must not keep all others out.

        :param waiting: those that do, the oldest first.
        :returns: the one that gives way to it, if all places are taken: the oldest of the site that has most of them.
        :raises TooMany: ``too-many-invitations``.
        """
        limits = self.limits
        same = sum(each.source == source for each in waiting) if source is not UNKNOWN else 0
        if same < limits.invitations_of_source and len(waiting) < limits.invitations:
            return None
        sites = Counter(each.source.site for each in waiting)
        site, most = max(sites.items(), key=itemgetter(1))
        if same >= limits.invitations_of_source or most <= sites[source.site] + 1:
            raise TooMany("Too many invitations wait at this peer.", code="too-many-invitations")
        return next(each for each in waiting if each.source.site == site)

    def draw(self, now: float) -> tuple[bytes, int]:
        """:returns: the id of a new attempt, and the number of its invitation."""
        attempt_id = bytes(8)
        while attempt_id == bytes(8) or attempt_id in self._by_id:
            attempt_id = self._random(8)
        return attempt_id, self._draw_event(now)

    def join(self, attempt: Attempt) -> None:
        """Count that the invited client takes part now."""
        client_id = attempt.controlled.client_id
        _drop(self._invited, client_id, attempt)
        self._going.setdefault(client_id, {})[attempt] = None

    def view(self, attempt: Attempt, side: Side) -> AttemptView:
        """:returns: an attempt as a side sees it."""
        seen = view(attempt, side, self._key_of, self.limits, self.facilities)
        return attrs.evolve(seen, version=side.version)

    def enter(self, attempt: Attempt) -> None:
        """Take an attempt in."""
        self._by_id[attempt.id] = attempt
        self._shares.add(attempt.source)
        if attempt.goes_on:
            self._going.setdefault(attempt.controlling.client_id, {})[attempt] = None
            held = self._invited if attempt.state is AttemptState.INVITED else self._going
            held.setdefault(attempt.controlled.client_id, {})[attempt] = None

    def _settle(self, attempt: Attempt, now: float) -> None:
        """Let time pass for an attempt: its end, its start, and that it is forgotten, come when they are due."""
        if attempt.due > now:
            return
        if attempt.goes_on:
            limits = self.limits
            late = attempt.begun + (limits.invited if attempt.joined is None else limits.lifetime)
            if now >= late:
                self.conclude(attempt, AttemptState.EXPIRED, now)
            else:
                self.changed(attempt, now, is_urgent=False)
        elif attempt.ended is not None and now >= attempt.ended + self.limits.linger:
            self._forget(attempt)

    def changed(self, attempt: Attempt, now: float, *, is_urgent: bool = True) -> None:
        """
        Draw the conclusions from a change, and report it.

        :param is_urgent: whether the decision is answered only once it is kept.
        """
        limits, facilities = self.limits, self.facilities
        if attempt.goes_on:
            for side in attempt:
                start_checks(side, now, limits, self._random)
            failed = advance(attempt, now, limits, facilities)
            if failed is not None:
                attempt.code = failed
                self.conclude(attempt, AttemptState.FAILED, now)
                return
        for side in attempt:
            shown = hash(view(attempt, side, self._key_of, limits, facilities))
            if shown != side.shown:
                side.version += side.shown != 0
                side.shown = shown
                self.notify(AttemptSide(attempt.id.hex(), side.role))
        (self._note if is_urgent else self._touch)(attempt)
        self.schedule(attempt, now)

    def conclude(self, attempt: Attempt, state: AttemptState, now: float, via: str | None = None) -> None:
        """
        End an attempt.

        :param via: the kind of path, if there is one and a client has said it.
        """
        ended = ended_as(attempt, state, via, now)
        self._ended.append(ended)
        self._history.add(record_of(attempt, ended, state))
        for side in attempt:
            _drop(self._going, side.client_id, attempt)
            _drop(self._invited, side.client_id, attempt)
        conclude(attempt, state, now)
        self.changed(attempt, now)
        self.on_due()  # The outcome is there to be counted.

    def records(
        self, client_id: bytes | None = None, before: int | None = None, most: int | None = None
    ) -> list[AttemptRecord]:
        """
        :param client_id: whose attempts; ``None`` for those of all.
        :param before: only those with smaller numbers.
        :param most: how many at most.
        :returns: those that go on and those that have ended lately, the latest first.
        """
        # All of them are in the order of their numbers; those of a client are few.
        attempts: Iterable[Attempt] = reversed(self._by_id.values())
        if client_id is not None:
            own = {**self._going.get(client_id, {}), **self._invited.get(client_id, {})}
            attempts = sorted(own, key=attrgetter("seq"), reverse=True)
        going_on = (record_of(each) for each in attempts if each.goes_on and (before is None or each.seq < before))
        found = (
            each
            for each in self._history.newest_first(going_on)
            if (before is None or each.number < before) and client_id in (None, each.controlling, each.controlled)
        )
        return list(islice(found, most))

    def _key_of(self, attempt_id: bytes) -> bytes:
        return self._restored_keys.get(attempt_id) or self._pair_key(attempt_id)

    def _forget(self, attempt: Attempt) -> None:
        del self._by_id[attempt.id]
        self._restored_keys.pop(attempt.id, None)
        self._due.discard((attempt.due, attempt.id))
        self._shares.remove(attempt.source)
        self._note(Removed(attempt))

    def schedule(self, attempt: Attempt, now: float) -> None:
        """Note when something has to be done about an attempt next."""
        before = self._due[0] if self._due else None
        self._due.discard((attempt.due, attempt.id))
        attempt.due = due_at(attempt, now, self.limits)
        self._due.add((attempt.due, attempt.id))
        if before is None or self._due[0] < before:
            self.on_due()


def _drop(held: dict[bytes, dict[Attempt, None]], client_id: bytes, attempt: Attempt) -> None:
    own = held.get(client_id)
    if own is not None:
        own.pop(attempt, None)
        if not own:
            del held[client_id]
