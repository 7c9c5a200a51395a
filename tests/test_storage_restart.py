"""The SQLite store: all that it has acknowledged is there after a restart, and the pause counts towards no timeout."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from types import CoroutineType
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from rendezvous.core.identity import Credential
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.replies import PeerInfo, Pulsed, Pushed
from rendezvous.core.signaling.offers import Role
from rendezvous.errors import Conflict, Forbidden, Full, NotFound, Unauthorized
from rendezvous.model import ObservedAddress, PeerStatus, Swept
from rendezvous.storage.journal import Journal
from rendezvous.storage.journaled import Journaled
from rendezvous.storage.local import LocalStore
from tests._store_case import DAY, NOW, StoreOptions
from tests.contract_presence import HERE, JUST, THERE
from tests.contract_sessions import HERE as ORIGIN
from tests.contract_tracker import ALICE, BOB, CAROL
from tests.signaling_tables import ids, spec
from tests.test_storage_sqlite import FileCase

T = TypeVar("T")

#: When the first life ends, in server time, and how long there is no server after it.
END = NOW + 20
DOWN = 10_000.0
#: When the second one begins: server time stood still.
BACK = END

#: The verbs that change something for good; what others find to have expired is written with the next sweep.
WRITES = {
    *("register", "pulse", "verify", "logout", "publish", "heartbeat", "withdraw", "answer", "add_candidates"),
    *("open_session", "answer_session", "add_session_candidate", "announce", "track"),
}


class ClosedTests(FileCase):
    """What is there after a stop that was asked for."""

    lives = 0

    def reopen(self, end: float = END, wall: float = END + DOWN, **options: Any) -> None:
        """End the life that is, and begin another, at a time on the wall clock that has no effect."""
        self.end_life(end)
        self.lives += 1
        self.store = self.opened(wall, random=random.Random(f"life {self.lives}").randbytes, **options)

    def end_life(self, end: float) -> None:
        """Close the store as a process does when it is told to stop."""
        self.done(self.store.close(end))

    def test_clients_are_as_they_were(self) -> None:
        """ONLINE where they last were, late, or new; the time without a server makes none of them older."""
        online, online_key = self.come_online()
        late, late_key = self.come_online()
        verified, verified_key = self.come_online()
        new, new_key = self.register()
        self.done(self.store.pulse(online_key, THERE, NOW + 15))
        self.done(self.store.verify(verified, NOW + 16))
        self.done(self.store.sweep(END))
        self.reopen()
        statuses = [self.done(self.store.status(peer, BACK)) for peer in (online, late, verified, new)]
        self.assertEqual([status.last_online for status in statuses], [5.0, 20.0, 20.0, None])
        self.assertEqual([status.online for status in statuses], [True, True, True, False])
        self.assertEqual(self.done(self.store.address(online, BACK)), ObservedAddress(*THERE))
        self.assertEqual(self.done(self.store.address(late, BACK)), ObservedAddress(*HERE))
        self.assertEqual(self.refused(self.store.address(new, BACK), NotFound).code, "no-address")
        self.assertEqual([self.online(late, BACK + since) for since in (13.0, 13 + JUST, 190.0)], [True, False, False])
        self.assertIsNone(self.online(late, BACK + 190 + JUST))
        self.assertEqual([self.online(verified, BACK + since) for since in (29.0, 29 + JUST)], [True, False])
        self.assertEqual([self.online(new, BACK + since) for since in (280.0, 280 + JUST)], [False, None])
        for key, since, code in ((online_key, 28.0, 1020), (late_key, 28.0, 1050), (new_key, 280.0, 1020)):
            self.assertEqual(self.done(self.store.pulse(key, THERE, BACK + since)), code)
        self.assertIs(self.done(self.store.pulse(verified_key, HERE, BACK + 29)), PulseCode.ON_TIME)

    def test_pulse_that_only_moved_the_clock_is_kept(self) -> None:
        """The next sweep has written it, a second later at most, with the pulse before a verify forgotten."""
        client_id, key = self.come_online()
        self.done(self.store.verify(client_id, NOW + 5))
        self.assertTrue(self.store.live.keep_alive(key, HERE, NOW + 19.5))
        self.done(self.store.sweep(END))
        self.reopen()
        self.assertEqual(self.done(self.store.status(client_id, BACK)), PeerStatus(True, 0.5))
        self.assertTrue(self.store.live.keep_alive(key, HERE, BACK + 32.5))

    def test_credentials_are_good(self) -> None:
        """In both forms, and the secret that a rotation has replaced still honours its own."""
        client_id, key = self.come_online()
        old = self.keyring.keys(client_id, NOW)[1]
        self.done(self.store.sweep(END))
        self.reopen()
        for credential in (Credential(key), Credential(key, client_id), Credential(old), Credential(old, client_id)):
            self.assertEqual(self.done(self.store.authenticate(credential, BACK)), client_id)
        self.refused(self.store.authenticate(Credential(bytes(32), client_id), BACK), Unauthorized)

    def test_logouts_are_remembered(self) -> None:
        """The client, its offers and its credential are not back; and one day the credential is forgotten."""
        client_id, key = self.come_online()
        self.publish(client_id.hex(), "x")
        self.done(self.store.logout(client_id, NOW + 10))
        self.done(self.store.sweep(END))
        self.reopen()
        self.assertIsNone(self.online(client_id, BACK))
        self.assertEqual((len(self.store.live), self.mine(client_id.hex(), BACK)), (0, []))
        for now in (BACK, NOW + 10 + 30 * DAY):
            for credential in (Credential(key), Credential(key, client_id)):
                self.refused(self.store.authenticate(credential, now), Unauthorized)
        later = NOW + 10 + 30 * DAY + 1
        self.assertEqual(self.done(self.store.authenticate(Credential(key, client_id), later)), client_id)

    def test_bans_are_kept(self) -> None:
        """Those that still hold, with their ends and reasons; time without a server counts, as it is the wall clock."""
        client_id, key = self.come_online()
        ended = self.done(self.store.ban("192.0.2.0/24", DOWN, "short", NOW))
        lifted = self.done(self.store.ban("203.0.113.0/24", None, "lifted", NOW))
        kept = [
            self.done(self.store.ban("198.51.100.0/24", None, "floods", NOW + 1)),
            self.done(self.store.ban(client_id.hex(), 10 * DAY, "", NOW)),
        ]
        self.done(self.store.lift(lifted.target, NOW))
        self.reopen()
        # The store's wall clock is its server time here.
        self.assertEqual(self.store.bans.all(NOW + DOWN), kept)
        self.assertIsNone(self.store.bans.of_host("192.0.2.1", NOW + DOWN))
        self.assertEqual(ended.until, NOW + DOWN)
        for credential in (Credential(key, client_id), Credential(key)):
            self.refused(self.store.authenticate(credential, BACK), Forbidden)

    def test_logout_after_a_restart_ends_every_key(self) -> None:
        """A client may be known by one of each secret."""
        client_id, _ = self.come_online()
        self.done(self.store.sweep(END))
        self.reopen()
        self.done(self.store.logout(client_id, BACK))
        for key in self.keyring.keys(client_id, BACK):
            self.assertIs(self.done(self.store.pulse(key, HERE, BACK)), PulseCode.UNKNOWN)
        self.reopen(BACK + 1, BACK + 2)
        self.assertEqual(len(self.store.live), 0)

    def test_offers_are_as_they_were(self) -> None:
        """In order, with all that was asked for, and with the time that they had left."""
        self.publish("p", "x", "a", "b", ttl_ms=60_000, secret="s", info="i")
        self.publish("p", "y", "a", now=NOW + 1)
        self.publish("q", "z", "a", now=NOW + 2)
        self.done(self.store.heartbeat("p", "x", NOW + 3))
        before = self.listed(self.store.mine("p", NOW + 4))
        self.done(self.store.sweep(END))
        self.reopen()
        page, total = self.counted(self.store.by_topic("a", 9, None, BACK))
        self.assertEqual((ids(page), total), (["x", "z", "y"], 3))
        self.assertEqual(self.counted(self.store.topics(9, 0, "", BACK)), ([("a", 2), ("b", 1)], 2))
        for old, new in zip(before, self.listed(self.store.mine("p", BACK)), strict=True):
            for name in (
                "id",
                "owner",
                "namespace",
                "topics",
                "sdp",
                "secret",
                "info",
                "created_at",
                "last_seen",
                "answer",
            ):
                self.assertEqual(getattr(new, name), getattr(old, name), name)
            self.assertEqual(new.expires_at, old.expires_at)
        self.refused(self.store.answer("x", "q", "v=1", "wrong", BACK), Forbidden)
        self.assertEqual((self.mine("p", BACK + 39.999), self.mine("p", BACK + 40)), (["x", "y"], ["y"]))

    def test_answers_and_candidates_are_as_they_were(self) -> None:
        """Locked, and each side reads on from the last that it has seen."""
        self.publish("p", "x")
        self.trickle("x", "p", {"a": 1}, now=NOW + 1)
        self.reply("x", "q", now=NOW + 2)
        self.trickle("x", "q", 2, now=NOW + 3)
        self.trickle("x", "p", 3, now=NOW + 4)
        ((_, answer),) = self.listed(self.store.answers("p", NOW + 5, -1))
        seen = self.listed(self.store.candidates("x", "q", NOW + 5, -1))
        self.done(self.store.sweep(END))
        self.reopen()
        ((_, again),) = self.listed(self.store.answers("p", BACK, -1))
        self.assertEqual(again, answer)
        self.refused(self.store.answer("x", "r", "v=1", None, BACK), Conflict)
        self.assertEqual(list(self.listed(self.store.candidates("x", "q", BACK, -1))), list(seen))
        self.assertEqual(self.read_of("x", "q", seen[0].created_at, BACK), ["3"])
        self.assertEqual(self.read_of("x", "p", now=BACK), ["2"])
        self.trickle("x", "p", 4, now=BACK)
        self.assertEqual(self.read_of("x", "q", seen[-1].created_at, BACK), ["4"])
        self.assertEqual(self.counted(self.store.by_topic("t", 9, None, BACK)), ([], 0))

    def test_sessions_are_as_they_were(self) -> None:
        """With their answer and the candidates of both sides."""
        self.open_session("mine")
        self.open_session("other", now=NOW + 1)
        self.done(self.store.add_session_candidate(ORIGIN, "mine", Role.ANSWERER, 1, NOW + 2))
        self.done(self.store.answer_session(ORIGIN, "mine", Role.ANSWERER, "v=1", NOW + 3))
        self.done(self.store.add_session_candidate(ORIGIN, "mine", Role.OFFERER, {"b": None}, NOW + 4))
        self.done(self.store.sweep(END))
        self.reopen()
        session = self.done(self.store.session(ORIGIN, "mine", BACK))
        offer = session.offer
        assert offer.answer is not None
        self.assertEqual((offer.sdp, offer.info, offer.answer.sdp), (b'"v=0"', "me", b'"v=1"'))
        sent = {side.value: [each.payload for each in session.candidates(side)] for side in Role}
        self.assertEqual(sent, {"offerer": [b'{"b":null}'], "answerer": [b"1"]})
        self.assertEqual(self.codes(ORIGIN, "room", BACK), ["other"])
        self.refused(self.store.open_session(ORIGIN, "room", "", "v=0", "mine", BACK), Conflict)
        self.assertEqual(self.found("mine", BACK + 279.999).id, "mine")
        self.refused(self.store.session(ORIGIN, "mine", BACK + 280), NotFound)

    def test_tracker_peers_are_as_they_were(self) -> None:
        """Under their names, with what they have recorded and the time that they had left."""
        first, bob = self.announce(ALICE), self.announce(BOB)
        self.done(self.tracker_pulse(ALICE, NOW + 1, override=True, ip="10.0.0.1", port=7000, multiaddr="/a"))
        ((pulsed, _),) = self.done(self.tracker_pulse(ALICE, NOW + 2, renew_share_id=True))
        assert isinstance(pulsed, Pulsed)
        assert pulsed.share_id is not None
        self.assertTrue(self.is_alive(BOB, NOW + 15))
        self.done(self.store.sweep(END))
        self.reopen()
        self.assertEqual(
            self.learns(BOB, pulsed.share_id, BACK), Pushed(PeerInfo("10.0.0.1", 7000, pulsed.share_id, "/a"))
        )
        self.assertEqual(self.refused(self.store.push(BOB, BACK, first), NotFound).code, "unknown-share-id")
        self.assertEqual((self.announce(BOB, BACK), self.is_alive(CAROL, BACK)), (bob, False))
        self.assertTrue(self.is_alive(ALICE, BACK + 282))
        self.assertEqual(self.done(self.store.sweep(BACK + 301)), Swept(tracker_peers=1))

    def test_streams_go_on_from_their_numbers(self) -> None:
        """Each event once, whether it was sent before the end or not; what comes now has a greater number."""
        start = self.cursor()
        self.publish("p", "x")
        self.publish("p", "y")
        self.trickle("x", "p", 0, now=NOW + 1)
        self.reply("x", "q", now=NOW + 2)
        self.trickle("x", "q", 1, now=NOW + 3)
        self.reply("y", "q", now=NOW + 4)
        self.done(self.store.withdraw("p", "y", NOW + 5))
        before = {peer: self.done(self.store.events_since(peer, start, NOW + 6)) for peer in ("p", "q")}
        self.assertEqual([len(events.events) for events in before.values()], [3, 2])
        self.done(self.store.sweep(END))
        self.reopen()
        for peer, old in before.items():
            for index, event in enumerate(old.events):
                new = self.done(self.store.events_since(peer, event.seq, BACK))
                self.assertEqual((list(new.events), new.complete), (list(old.events[index + 1 :]), True))
            self.assertEqual(self.told(peer, old.cursor, BACK), [])
        self.trickle("x", "q", 2, now=BACK)
        self.assertEqual(self.told("p", before["p"].cursor, BACK), ["candidate"])

    def test_stream_from_before_the_horizon_is_told_of_its_loss(self) -> None:
        """What was too old to be sent before the end is so after it."""
        start = self.cursor()
        self.publish("p", "x")
        self.reply("x", "q")
        self.done(self.store.sweep(NOW + 121))
        self.assertFalse(self.done(self.store.events_since("p", start, NOW + 121)).complete)
        self.done(self.store.sweep(NOW + 122))
        self.reopen(NOW + 122, NOW + 123)
        events = self.done(self.store.events_since("p", start, NOW + 123))
        self.assertEqual((list(events.events), events.complete), ([], False))

    def test_ended_things_are_not_back(self) -> None:
        """Withdrawn, replaced, expired, fallen silent."""
        self.come_online()
        self.announce(ALICE)
        self.publish("p", "withdrawn")
        self.publish("p", "short", ttl_ms=60_000)
        self.publish("p", "replaced", ttl_ms=3_600_000)
        self.trickle("replaced", "p", 1)
        self.open_session("session")
        self.done(self.store.withdraw("p", "withdrawn", NOW + 1))
        self.done(self.store.publish("p", [spec("another", id="replaced", ttl_ms=3_600_000)], NOW + 2))
        self.done(self.store.sweep(NOW + 301))
        self.done(self.store.sweep(NOW + 302))
        self.reopen(NOW + 302, NOW + 302)
        now = NOW + 302
        self.assertEqual((len(self.store.live), self.mine("p", now)), (0, ["replaced"]))
        self.reply("replaced", "q", now=now)
        self.assertEqual(self.read_of("replaced", "q", now=now), [])
        self.refused(self.store.session(ORIGIN, "session", now), NotFound)
        self.assertFalse(self.is_alive(ALICE, now))

    def test_bounds_hold_after_a_restart(self) -> None:
        """What is back counts; more than a lower bound allows is kept, and nothing new is taken in."""
        self.register()
        self.register()
        self.publish("p", "x")
        self.publish("p", "y")
        self.done(self.store.sweep(END))
        self.reopen(max_clients=1, max_offers=1)
        self.refused(self.store.register(BACK), Full)
        self.refused(self.store.publish("q", [spec(id="z")], BACK), Full)
        self.assertEqual(self.mine("p", BACK), ["y", "x"])

    def test_clock_that_was_set_back_is_harmless(self) -> None:
        """No client is gone, and no event is sent twice."""
        client_id, key = self.come_online()
        self.publish("p", "x")
        self.reply("x", "q")
        cursor = self.done(self.store.events_since("p", 0, NOW)).cursor
        self.done(self.store.sweep(END))
        self.reopen(wall=NOW - 1000)
        self.assertEqual(self.online(client_id, BACK), True)
        self.assertIs(self.done(self.store.pulse(key, HERE, BACK)), PulseCode.ON_TIME)
        self.trickle("x", "q", 1, now=BACK)
        self.assertEqual(self.told("p", cursor, BACK), ["candidate"])

    def test_server_time_goes_on_where_it_was(self) -> None:
        """Whatever the wall clock says; a new file begins with the wall clock's time."""
        self.register()
        self.done(self.store.sweep(END))
        self.end_life(END)
        for wall in (0.0, END + DOWN):
            store = self.make_store(StoreOptions(case=self, keyring=self.keyring, random=random.Random(2).randbytes))
            self.assertEqual(store.open(wall), END)
            self.done(store.close(END))
        self.path = self.mktemp()
        store = self.make_store(StoreOptions(case=self, keyring=self.keyring, random=random.Random(2).randbytes))
        self.assertEqual(store.open(END + DOWN), END + DOWN)
        self.done(store.close(END + DOWN))

    def test_events_outlive_two_restarts(self) -> None:
        """They are kept for 120 seconds in which there is a server, in however many lives."""
        start = self.cursor()
        self.publish("p", "x")
        self.reply("x", "q")
        for seconds in (5, 10):
            self.done(self.store.sweep(NOW + seconds))
            self.reopen(NOW + seconds)
        self.assertEqual(self.told("p", start, NOW + 119), ["answer"])
        self.assertFalse(self.done(self.store.events_since("p", start, NOW + 121)).complete)

    def test_rule_for_forgotten_logouts_outlives_a_restart(self) -> None:
        """A credential whose logout was forgotten for want of room is still refused."""
        self.done(self.store.close(NOW))
        self.store = self.opened(max_logouts=1)
        ended = [self.come_online() for _ in range(2)]
        for client_id, _ in ended:
            self.done(self.store.logout(client_id, NOW))
        self.done(self.store.sweep(END))
        self.reopen(max_logouts=1)
        for client_id, key in ended:
            self.refused(self.store.authenticate(Credential(key, client_id), BACK), Unauthorized)

    def test_second_pause_adds_to_the_first(self) -> None:
        """No client ages while there are no requests, although nothing was written in between."""
        client_id, _ = self.come_online()
        new, _ = self.register()
        self.publish("p", "x")
        self.open_session("mine")
        self.announce(ALICE)
        self.done(self.store.sweep(END))
        self.reopen()
        self.done(self.store.sweep(BACK + 1))
        again = BACK + 1
        self.reopen(again)
        self.assertEqual(self.done(self.store.status(client_id, again)), PeerStatus(True, 21.0))
        self.assertEqual([self.online(new, again + since) for since in (279.0, 279 + JUST)], [False, None])
        self.assertEqual((self.mine("p", again + 278.999), self.mine("p", again + 279)), (["x"], []))
        self.assertTrue(self.is_alive(ALICE, again + 279))

    def test_second_life_is_kept_like_the_first(self) -> None:
        """What was changed in it, beside what was not."""
        client_id, key = self.come_online()
        self.publish("p", "x")
        self.reopen(NOW, NOW + 1)
        self.done(self.store.pulse(key, THERE, NOW + 2))
        self.publish("p", "y", now=NOW + 2)
        self.reply("x", "q", now=NOW + 2)
        self.reopen(NOW + 2, NOW + 3)
        self.assertEqual(self.done(self.store.address(client_id, NOW + 3)), ObservedAddress(*THERE))
        self.assertEqual(self.mine("p", NOW + 3), ["y", "x"])
        self.refused(self.store.answer("x", "r", "v=1", None, NOW + 3), Conflict)

    def test_restart_before_the_first_sweep(self) -> None:
        """What has been acknowledged is there even if it is all that the first life did."""
        client_id, key = self.come_online()
        self.publish("p", "x")
        self.reopen(NOW, NOW + DOWN)
        self.assertIs(self.done(self.store.pulse(key, HERE, NOW + 1)), PulseCode.ON_TIME)
        self.assertEqual((self.online(client_id, NOW + 1), self.mine("p", NOW + 1)), (True, ["x"]))


def journal_of(store: LocalStore) -> Journal:
    """:returns: the journal of an open store."""
    durability = store._durability
    assert isinstance(durability, Journaled)
    assert durability._journal is not None
    return durability._journal


class KilledTests(ClosedTests):
    """The same after an end that came unasked: only what is in the file by then counts."""

    def done(self, verb: Coroutine[Any, Any, T]) -> T:
        """:returns: what the verb has returned; by then nothing of what it did must be left to be written."""
        assert isinstance(verb, CoroutineType)
        result: T = super().done(verb)
        if verb.__name__ in WRITES:
            self.assertEqual(journal_of(self.store).pending, 0, verb.__name__)
        return result

    def end_life(self, end: float) -> None:
        """Leave the store as a process does that is killed."""
        self.kill()

    def test_stream_that_was_ahead_of_the_file_misses_nothing(self) -> None:
        """An event that was sent and then lost in a crash has a number that no later event comes before."""
        start = self.cursor()
        for offer in ("x", "y"):
            self.publish("p", offer)
        self.done(self.store.sweep(NOW + 10))
        journal = journal_of(self.store)
        assert journal is not None
        journal._run = lambda write: Deferred()  # The disk is slow.
        self.assertNoResult(Deferred.fromCoroutine(self.store.answer("x", "q", "sdp", None, NOW + 10.9)))
        seen = self.done(self.store.events_since("p", start, NOW + 10.9))
        self.assertEqual([event.offer_id for event in seen.events], ["x"])
        self.reopen(wall=NOW + 12)
        self.reply("y", "q", now=NOW + 10.1)
        self.reply("x", "q", now=NOW + 11.5)
        found = self.done(self.store.events_since("p", seen.cursor, NOW + 12))
        self.assertEqual(([event.offer_id for event in found.events], found.complete), (["y", "x"], True))
