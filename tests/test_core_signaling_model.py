"""The signaling against a model that scans everything, under any order of events."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.signaling.offers import OFFERS
from rendezvous.errors import Conflict, Forbidden, Full, NotFound, RendezvousError, TooMany
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import NOW, World, ids, spec

PEERS = st.sampled_from(["p", "q", "r"])
IDS = st.sampled_from(["1", "2", "3", "4", "5"])
TOPICS = st.lists(st.sampled_from(["a", "ab", "b", "ba"]), min_size=1, max_size=3, unique=True)


@attrs.define
class Entry:
    """What the model knows of an offer."""

    id: str
    owner: str
    topics: tuple[str, ...]
    expires: int
    seen: int
    answered: bool = False


class SignalingMachine(RuleBasedStateMachine):
    """Publishes, answers, withdraws and waits at random, and compares every listing."""

    def __init__(self) -> None:
        super().__init__()
        self.signaling = World(SignalingLimits(offers_per_peer=3, ttl_min_ms=1), max_offers=4)
        self.entries: dict[str, Entry] = {}
        self.elapsed_ms = 0
        self.turn = 0

    @property
    def now(self) -> float:
        """The present, exactly representable: times are multiples of 1/8 s."""
        return NOW + self.elapsed_ms / 1000

    def refusal(self, act: object, expected: type[RendezvousError] | None) -> None:
        """The act is refused just as the model says."""
        assert callable(act)
        try:
            act()
        except RendezvousError as error:
            assert type(error) is expected, (error, expected)
        else:
            assert expected is None, expected

    @rule(owner=PEERS, id=IDS, topics=TOPICS, eighths=st.integers(1, 16))
    def publish(self, owner: str, id: str, topics: list[str], eighths: int) -> None:
        """Publish or refresh an offer."""
        ttl = eighths * 125
        held = self.entries.get(id)
        expected: type[RendezvousError] | None = None
        if held is not None:
            expected = Conflict if held.owner != owner or held.answered else None
        elif sum(entry.owner == owner for entry in self.entries.values()) >= 3:
            expected = TooMany
        elif len(self.entries) >= 4:
            expected = Full
        limits = self.signaling.limits
        wanted = spec("v=0", *topics, id=id, ttl_ms=ttl, limits=limits)
        self.refusal(lambda: self.signaling.publish(owner, [wanted], self.now), expected)
        if expected is None:
            self.turn += 1
            self.entries[id] = Entry(id, owner, tuple(topics), self.elapsed_ms + ttl, self.turn)

    @rule(peer=PEERS, id=IDS)
    def answer(self, peer: str, id: str) -> None:
        """Answer an offer."""
        held = self.entries.get(id)
        expected: type[RendezvousError] | None = NotFound
        if held is not None:
            expected = Conflict if held.owner == peer or held.answered else None
        self.refusal(lambda: self.signaling.answer(OFFERS, id, peer, "v=1", None, self.now), expected)
        if held is not None and expected is None:
            held.answered = True

    @rule(peer=PEERS, id=IDS)
    def heartbeat(self, peer: str, id: str) -> None:
        """See an offer again."""
        held = self.entries.get(id)
        self.refusal(lambda: self.signaling.heartbeat(peer, id, self.now), self.owners_only(peer, held))
        if held is not None and held.owner == peer:
            self.turn += 1
            held.seen = self.turn

    @rule(peer=PEERS, id=IDS)
    def withdraw(self, peer: str, id: str) -> None:
        """End an offer."""
        held = self.entries.get(id)
        self.refusal(lambda: self.signaling.withdraw(peer, id, self.now), self.owners_only(peer, held))
        if held is not None and held.owner == peer:
            del self.entries[id]

    @rule(peer=PEERS)
    def end_peer(self, peer: str) -> None:
        """Log a peer out."""
        owned = [entry.id for entry in self.entries.values() if entry.owner == peer]
        assert self.signaling.end_peer(peer, self.now) == len(owned)
        for id in owned:
            del self.entries[id]

    @rule(eighths=st.integers(1, 8))
    def wait(self, eighths: int) -> None:
        """Let time pass, with no sweep."""
        self.elapsed_ms += eighths * 125
        self.entries = {id: entry for id, entry in self.entries.items() if entry.expires > self.elapsed_ms}

    def owners_only(self, peer: str, held: Entry | None) -> type[RendezvousError] | None:
        """What a verb of owners says."""
        if held is None:
            return NotFound
        return None if held.owner == peer else Forbidden

    def open_in(self, topic: str) -> list[Entry]:
        """The answerable offers of a topic, most recently seen first."""
        found = [entry for entry in self.entries.values() if topic in entry.topics and not entry.answered]
        return sorted(found, key=lambda entry: -entry.seen)

    @invariant()
    def offers_agree(self) -> None:
        """Every listing of offers is the model's."""
        for topic in ("a", "ab", "b", "ba"):
            found = [entry.id for entry in self.open_in(topic)]
            page, total = self.signaling.by_topic(OFFERS, topic, 2, None, self.now)
            assert (ids(page), total) == (found[:2], len(found))
            assert self.signaling.count(OFFERS, topic, self.now) == len(found)
        for peer in ("p", "q", "r"):
            owned = sorted((e for e in self.entries.values() if e.owner == peer), key=lambda entry: -entry.seen)
            assert ids(self.signaling.mine(peer, self.now)) == [entry.id for entry in owned]
            assert ids(self.signaling.of_peer(peer, self.now)) == [entry.id for entry in owned if not entry.answered]
        assert len(self.signaling) == len(self.entries)

    @invariant()
    def topics_agree(self) -> None:
        """Every listing of topics is the model's."""
        peers = {topic: {entry.owner for entry in self.open_in(topic)} for topic in ("a", "ab", "b", "ba")}
        counts = {topic: len(self.open_in(topic)) for topic in peers}
        for prefix in ("", "a", "b", "ab", "c"):
            ranked = sorted((-len(who), topic) for topic, who in peers.items() if who and topic.startswith(prefix))
            found = [(topic, -rank) for rank, topic in ranked]
            assert self.signaling.topics(OFFERS, 2, 1, prefix, self.now) == (found[1:3], len(found))
        named = sorted((topic, count) for topic, count in counts.items() if count)
        assert self.signaling.topics_by_name(OFFERS, 2, 0, self.now) == (named[:2], len(named))


class SignalingModelTests(SynchronousTestCase):
    """Runs the machine."""

    def test_board_agrees_with_its_model(self) -> None:
        """No order of events makes the indexes disagree with a scan."""
        case = SignalingMachine.TestCase
        case.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
        case("runTest").debug()
