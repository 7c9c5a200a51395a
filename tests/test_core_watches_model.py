"""Whatever happens to offers: who follows the changes of topics knows what is listed there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.sources import UNKNOWN
from rendezvous.errors import RendezvousError
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import NOW, World, spec

TOPICS = ("a", "b", "c")
IDS = st.sampled_from(["1", "2", "3", "4"])
SOME_TOPICS = st.sets(st.sampled_from(TOPICS), min_size=1)
PEERS = st.sampled_from(["p", "q"])


class Listed(World):
    """A world whose listings a follower reads."""

    def listed(self, topic: str, now: float) -> dict[str, bytes]:
        """:returns: the descriptions of the offers in a topic, by id."""
        return {offer.id: offer.sdp for offer in self.by_topic("", topic, 100, None, now)[0]}


class Follower:
    """
    Reads the changes of some topics, and begins anew where it has missed some.

    :ivar known: by topic, the descriptions of its offers by id.
    :ivar resets: how often it has missed something.
    """

    def __init__(self, world: Listed, *topics: str) -> None:
        self.world = world
        self.topics = topics
        self.after = {topic: world.table.watches.watch(topic, UNKNOWN, NOW).since for topic in topics}
        self.known: dict[str, dict[str, bytes]] = {topic: {} for topic in topics}
        self.resets = 0

    def read(self, now: float) -> bool:
        """:returns: whether there is more."""
        news = self.world.table.changes(self.after, now)
        latest = self.world.table.events.latest
        until = latest if news.until is None else news.until
        for event in news.events:
            for topic in event.topics:
                self.known[topic].pop(event.offer_id, None)
                if event.offer is not None:
                    self.known[topic][event.offer_id] = event.offer.sdp
        for topic in self.topics:
            self.after[topic] = max(self.after[topic], until)
        for topic, after in news.missed.items():
            self.resets += 1
            self.after[topic] = after
            self.known[topic] = self.world.listed(topic, now)
        return news.until is not None


class WatchesMachine(RuleBasedStateMachine):
    """Operations of two peers, and three followers: one that reads at once, one now and then, one of two topics."""

    def __init__(self) -> None:
        super().__init__()
        limits = SignalingLimits(changes_in_a_read=2, changes_of_topic=8, changes_kept=15, event_linger=150.0)
        self.now = NOW
        self.world = Listed(limits)
        self.prompt = Follower(self.world, *TOPICS)
        self.slow = Follower(self.world, *TOPICS)
        self.narrow = Follower(self.world, "b", "c")

    @rule(peer=PEERS, id=IDS, sdp=st.sampled_from("xy"), topics=SOME_TOPICS, ttl=st.integers(1, 4))
    def publish(self, peer: str, id: str, sdp: str, topics: set[str], ttl: int) -> None:
        """Publish an offer, or publish it again."""
        self.attempt(
            lambda: self.world.publish(peer, [spec(sdp, *sorted(topics), id=id, ttl_ms=ttl * 60_000)], self.now)
        )

    @rule(id=IDS)
    def answer(self, id: str) -> None:
        """Answer an offer."""
        self.attempt(lambda: self.world.answer("", id, "r", "v=1", None, self.now))

    @rule(peer=PEERS, id=IDS)
    def withdraw(self, peer: str, id: str) -> None:
        """End an offer."""
        self.attempt(lambda: self.world.withdraw(peer, id, self.now))

    @rule(peer=PEERS)
    def end_peer(self, peer: str) -> None:
        """Log a peer out."""
        self.world.end_peer(peer, self.now)

    @rule(seconds=st.integers(1, 100))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds

    @rule()
    def read(self) -> None:
        """The slow one reads a piece, which may not be all."""
        self.slow.read(self.now)

    @rule()
    def catch_up(self) -> None:
        """The slow one reads everything."""
        self.check(self.slow)

    @invariant()
    def readers_agree(self) -> None:
        """Those who read everything know what is listed."""
        self.check(self.prompt)
        self.check(self.narrow)

    def check(self, follower: Follower) -> None:
        """Read everything, and compare."""
        self.world.expire(self.now)
        while follower.read(self.now):
            pass
        for topic in follower.topics:
            assert follower.known[topic] == self.world.listed(topic, self.now), topic

    def attempt(self, verb: Callable[[], object]) -> None:
        """Do what may be refused."""
        with contextlib.suppress(RendezvousError):
            verb()

    def teardown(self) -> None:
        """Nothing is charged for what is old."""
        for after in (300, 600):
            self.world.expire(self.now + after)
        assert self.world.table.memory.held == 0, self.world.table.memory.held


class WatchesModelTests(SynchronousTestCase):
    """Random operations."""

    def test_followers_know_what_is_listed(self) -> None:
        """After each step."""
        case = WatchesMachine.TestCase
        case.settings = settings(deadline=None, max_examples=40, stateful_step_count=40)
        case("runTest").debug()
