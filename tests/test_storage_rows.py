"""Records become rows, and the same records again."""

from __future__ import annotations

import json
import sqlite3

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core import connect
from rendezvous.core.attempts.attempt import Attempt, Check, Given, Side
from rendezvous.core.connect import AttemptRole, AttemptState, CandidateKind, Strategy
from rendezvous.core.notes import Removed
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.logouts import LiveOnly, Revocation
from rendezvous.core.signaling.encoded import string
from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.events import Event, EventKind, EventLogged
from rendezvous.core.signaling.offers import Answer, Candidate, CandidatesAdded, Offer, OfferChanged, Role, Session
from rendezvous.core.sources import source_network
from rendezvous.core.tracker import TrackerPeer
from rendezvous.storage.attempt_rows import read_attempts
from rendezvous.storage.database import schema_steps
from rendezvous.storage.rows import (
    PUT_SNAPSHOT,
    read_clients,
    read_events,
    read_offers,
    read_revocations,
    read_snapshot,
    read_tracker_peers,
    seen_peers,
    snapshot_row,
    statements,
)

NOW = 1_700_000_000.125
MS = 1_700_000_000_125

#: All that can be UTF-8, so everything but lone surrogates, which no request can bring in.
texts = st.text(st.characters(exclude_categories=["Cs"]))
whole = st.integers(-(2**63), 2**63 - 1)
moments = st.floats(0, 1e12)
identities = st.binary(min_size=16, max_size=16)
encoded = texts.map(string)
networks = st.sampled_from(["", "192.0.2.1", "2001:db8:1:2::/64"]).map(source_network)
answers = st.builds(Answer, texts, encoded, whole, whole)
roles = st.sampled_from(Role)
offers = st.builds(
    Offer,
    id=texts,
    namespace=texts,
    owner=texts,
    topics=st.lists(texts, max_size=3).map(tuple),
    sdp=encoded,
    secret=st.none() | texts,
    info=st.none() | texts,
    created_at=whole,
    expires_at=whole,
    last_seen=whole,
    seen=whole,
    while_connected=st.booleans(),
    source=networks,
    answer=st.none() | answers,
)
payloads = (
    st.one_of(st.none(), texts, whole, st.lists(texts), st.dictionaries(texts, texts)).map(json.dumps).map(str.encode)
)
seqs = st.integers(0, 2**63 - 1)


def database(*notes: object) -> sqlite3.Connection:
    """:returns: a file in memory with these written to it."""
    made = sqlite3.connect(":memory:", isolation_level=None)
    made.create_function("from_hex", 1, bytes.fromhex, deterministic=True)
    for step in schema_steps().values():
        made.executescript(step)
    write(made, *notes)
    return made


def write(made: sqlite3.Connection, *notes: object) -> None:
    """Write down what was noted."""
    for note in notes:
        for sql, parameters in statements(note):
            made.execute(sql, parameters)


def client(client_id: bytes = bytes(16), last_seen: float = NOW, slot: int = 1) -> Client:
    """:returns: one that has pulsed."""
    return Client(client_id, last_seen, host="192.0.2.1", port=4000, slot=slot)


def entry(offer: Offer, *candidates: Candidate) -> Session:
    """:returns: all that an offer and its candidates consist of."""
    made = Entry(offer)
    for candidate in candidates:
        made.attach(candidate)
    return made.session()


def offer(id: str = "an id") -> Offer:
    """:returns: one of which little matters."""
    return Offer(id=id, topics=("t",), sdp=b'"v=0"', created_at=MS, expires_at=MS + 1, last_seen=MS, seen=MS)


def tracked() -> TrackerPeer:
    """:returns: a peer of the tracker."""
    return TrackerPeer(("2001:db8::1", 4000, 5024), "192.0.2.1", 4001, "abcdefgh", NOW, None)


def side(role: AttemptRole, name: bytes) -> Side:
    """:returns: a side of an attempt; every field that is kept differs from its default."""
    ours, others, mapped = ("198.51.100.1", 40000), ("2001:db8::2", 50000), ("198.51.100.1", 7000)
    return Side(
        name * 16,
        role,
        Given(tuple(connect.Candidate(kind, ours) for kind in (CandidateKind.MAPPED, CandidateKind.HOST)), 0.25, True),
        {2: {4: {0: ours, 1: mapped}, 6: {1: others}}, 3: {4: {0: ours}}},
        checks={mapped: Check(b"four", NOW + 0.5, 2), others: Check(name * 4, NOW)},
        vouched={ours, others},
        version=7,
    )


class RoundTripTests(SynchronousTestCase):
    """What is written is what is read."""

    @given(identities, moments, st.none() | st.tuples(texts, st.integers(0, 65535)), st.none() | moments)
    @settings(deadline=None)
    def test_client(
        self, client_id: bytes, last_seen: float, address: tuple[str, int] | None, earlier: float | None
    ) -> None:
        """That it is there; in a copy all else, with an address or none, and with a verify after its last pulse."""
        host, port = address or (None, 0)
        made = Client(client_id, last_seen, "198.51.100.7", host, port, 5024, earlier, 7)
        file = database(made)
        self.assertEqual(list(read_clients(file)), [(7, client_id)])
        self.assertEqual(list(read_snapshot(file, NOW)), [Client(client_id, NOW)])
        file.execute(PUT_SNAPSHOT, snapshot_row(made))
        self.assertEqual(list(read_snapshot(file, NOW)), [made])
        self.assertEqual([each.slot for each in read_snapshot(file, NOW)], [7])

    def test_attempt(self) -> None:
        """All that the next life of the server does not find out anew."""
        sides = side(AttemptRole.CONTROLLING, b"a"), side(AttemptRole.CONTROLLED, b"b")
        source = source_network("192.0.2.1")
        ended = Attempt(
            b"attempt1", 18, source, NOW, *sides, AttemptState.FAILED, NOW + 1, NOW + 2, 3, 2, NOW + 0.5, NOW + 0.75,
            Strategy.BIRTHDAY, "no-path",
        )  # fmt: skip
        plain = Attempt(b"attempt2", 17, source, NOW, *sides)
        found = read_attempts(database(ended, plain))
        self.assertEqual([attrs.asdict(each) for each in found], [attrs.asdict(each) for each in (plain, ended)])

    @given(identities, moments)
    @settings(deadline=None)
    def test_revocation(self, client_id: bytes, until: float) -> None:
        """A logout is remembered until its time."""
        made = Revocation(client_id, until, "198.51.100.7")
        self.assertEqual(list(read_revocations(database(made))), [made])

    @given(offers)
    @settings(deadline=None)
    def test_offer(self, made: Offer) -> None:
        """Any Unicode, NUL among it, in every text; nothing is not the same as an empty text."""
        changed = OfferChanged(made, ("answer",))
        [found] = read_offers(database(made, changed))
        self.assertEqual(found.session(), entry(made))

    @given(offers, st.lists(st.tuples(payloads, texts, roles, whole), max_size=4))
    @settings(deadline=None)
    def test_candidates(self, made: Offer, sent: list[tuple[bytes, str, Role, int]]) -> None:
        """Each side has its own, in order."""
        candidates = [Candidate(*parts, seq) for seq, parts in enumerate(sent)]
        notes = [CandidatesAdded(made, (each,)) for each in candidates]
        [found] = read_offers(database(made, OfferChanged(made, ("answer",)), *notes))
        self.assertEqual(found.session(), entry(made, *candidates))

    @given(
        texts,
        seqs,
        st.sampled_from(EventKind),
        texts,
        st.lists(texts, max_size=3).map(tuple),
        answers,
        st.builds(Candidate, payloads, texts, roles, whole, whole),
    )
    @settings(deadline=None)
    def test_event(
        self,
        peer: str,
        seq: int,
        kind: EventKind,
        offer_id: str,
        topics: tuple[str, ...],
        answer: Answer,
        candidate: Candidate,
    ) -> None:
        """Of every kind, with what belongs to it."""
        known: dict[EventKind, Answer | Candidate] = {EventKind.ANSWER: answer, EventKind.CANDIDATE: candidate}
        payload = known.get(kind)
        made = EventLogged(peer, Event(seq, kind, offer_id, topics, payload))
        notes: list[object] = [made]
        if isinstance(payload, Answer):
            # The file has it with its offer.
            answer = attrs.evolve(answer, seq=seq)
            made = EventLogged(peer, Event(seq, kind, offer_id, topics, answer))
            answered = attrs.evolve(offer(), answer=answer)
            notes = [made, answered, OfferChanged(answered, ("answer",))]
        self.assertEqual(list(read_events(database(*notes))), [made])

    @given(
        st.builds(
            TrackerPeer,
            st.tuples(texts, st.integers(0, 65535), st.integers(0, 65535)),
            texts,
            st.integers(0, 65535),
            texts,
            moments,
            st.none() | texts,
        )
    )
    @settings(deadline=None)
    def test_tracker_peer(self, made: TrackerPeer) -> None:
        """With and without a multiaddr."""
        [found] = read_tracker_peers(database(made))
        self.assertEqual(attrs.astuple(found), attrs.astuple(made))

    def test_order(self) -> None:
        """Events come by number, logouts and tracker peers by time."""
        told = [EventLogged("p", Event(seq, EventKind.EXPIRED, "o", ())) for seq in (3, 1, 2)]
        self.assertEqual([each.event.seq for each in read_events(database(*told))], [1, 2, 3])
        ended = [Revocation(bytes([n]) * 16, NOW - n) for n in range(3)]
        self.assertEqual([each.until for each in read_revocations(database(*ended))], [NOW - 2, NOW - 1, NOW])


class ChangeTests(SynchronousTestCase):
    """A record that is in the file already."""

    def test_later_row_takes_the_place_of_the_earlier(self) -> None:
        """There is one row for each record."""
        one, published, peer = client(), offer(), tracked()
        made = database(one, published, peer)
        one = client(bytes([1]) * 16)
        published = attrs.evolve(published, sdp=b'"v=1"')
        peer.share_id = "stuvwxyz"
        write(made, one, published, peer)
        self.assertEqual(list(read_clients(made)), [(1, one.client_id)])
        self.assertEqual([each.offer.sdp for each in read_offers(made)], [b'"v=1"'])
        self.assertEqual([each.share_id for each in read_tracker_peers(made)], ["stuvwxyz"])

    def test_ended_record_is_gone(self) -> None:
        """An offer with its candidates; those of another stay."""
        one, two = offer("one"), offer("two")
        added = [CandidatesAdded(each, (Candidate(b"{}", "p", Role.OFFERER, MS, 1),)) for each in (one, two)]
        ended = [client(), Revocation(bytes(16), NOW), tracked()]
        made = database(one, two, *added, *ended)
        write(made, *map(Removed, ended), Removed(one))
        for read in (read_clients, read_revocations, read_tracker_peers):
            self.assertEqual(list(read(made)), [])
        self.assertEqual([each.offer.id for each in read_offers(made)], ["two"])
        self.assertEqual(made.execute("SELECT offer_id FROM candidates").fetchall(), [("two",)])

    def test_unknown_record(self) -> None:
        """It is a fault of ours, found when it is first noted."""
        for note in (object(), "text", Removed("text"), None):
            self.assertRaises(TypeError, lambda note=note: list(statements(note)))

    def test_heartbeat_writes_its_column_only(self) -> None:
        """The description, of many kilobytes, is not written again."""
        one = offer()
        made = database(one)
        one = attrs.evolve(one, last_seen=MS + 5, seen=MS + 6, sdp=b'"not written"')
        note = OfferChanged(one, ("last_seen", "seen"))
        write(made, note)
        self.assertNotIn("not written", [value for _, values in statements(note) for value in values])
        (found,) = read_offers(made)
        self.assertEqual((found.offer.last_seen, found.offer.seen, found.offer.sdp), (MS + 5, MS + 6, b'"v=0"'))

    @given(texts)
    @settings(deadline=None)
    def test_answer_is_written_once(self, sdp: str) -> None:
        """Offer and event share it; when the offer ends, the event keeps it."""
        one = offer()
        made = database(one)
        one = attrs.evolve(one, answer=Answer("q", string(sdp), MS + 1, 77))
        told = EventLogged("p", Event(77, EventKind.ANSWER, one.id, ("t",), one.answer))
        self.assertEqual([values[-1] for _, values in statements(told)], [None])
        write(made, told, OfferChanged(one, ("answer",)))
        self.assertEqual([each.offer.answer for each in read_offers(made)], [one.answer])
        self.assertEqual(list(read_events(made)), [told])
        write(made, Removed(one))
        self.assertEqual((list(read_offers(made)), list(read_events(made))), ([], [told]))

    def test_rule_for_forgotten_logouts(self) -> None:
        """It is a fact about the file."""
        made = database(LiveOnly(NOW), LiveOnly(NOW + 1))
        self.assertEqual(dict(made.execute("SELECT * FROM meta")), {"live_only_until": NOW + 1})


class SeenTests(SynchronousTestCase):
    """When tracker peers were last seen."""

    def test_only_the_time_is_written(self) -> None:
        """Of those that are in the file, many with one statement."""
        peers = [TrackerPeer(("192.0.2.1", port, 5024), "192.0.2.1", 4001, "abcdefgh", NOW, None) for port in range(3)]
        made = database(*peers[:2])
        for peer in peers:
            peer.last_seen = NOW + 40
        [(sql, parameters)] = seen_peers((peer.source, peer.last_seen) for peer in peers[1:])
        made.execute(sql, parameters)
        peers[0].last_seen = NOW
        self.assertEqual(
            [attrs.astuple(each) for each in read_tracker_peers(made)], [attrs.astuple(each) for each in peers[:2]]
        )

    def test_nothing_to_write(self) -> None:
        """No statement is made of none."""
        self.assertEqual([*seen_peers([])], [])

    def test_one_that_is_not_in_the_file(self) -> None:
        """It is not put there: activity is not a registration."""
        made = database()
        for sql, parameters in seen_peers([(tracked().source, NOW)]):
            made.execute(sql, parameters)
        self.assertEqual(list(read_tracker_peers(made)), [])
