"""What each verb of signaling charges, by its own size: ``test_core_memory`` shows that charges and refunds agree."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.signaling.offers import OFFERS
from rendezvous.core.sources import source_network
from rendezvous.errors import Full
from tests.signaling_tables import NOW, World, spec

HERE, ELSEWHERE = source_network("192.0.2.1"), source_network("198.51.100.1")


class ChargeTests(SynchronousTestCase):
    """An offer ``x`` of ``p``, published from one place and answered from another."""

    def setUp(self) -> None:
        """Publish it."""
        self.world = World()
        self.world.publish("p", [spec("v=0", id="x")], NOW, HERE)

    def held(self) -> tuple[int, int]:
        """:returns: what is charged in all, and to the second place."""
        memory = self.world.table.memory
        return memory.held, memory.shares.held(ELSEWHERE)

    def test_answer_is_charged_to_its_source(self) -> None:
        """Once with the offer and once in the event, which may outlive the offer."""
        before, _ = self.held()
        self.world.answer(OFFERS, "x", "q", "v" * 5000, None, NOW, ELSEWHERE)
        after, charged = self.held()
        self.assertEqual(after - before, charged)
        self.assertGreater(charged, 2 * 5000)

    def test_candidates_are_charged_to_their_source(self) -> None:
        """Each with the offer, and in an event once the offer is answered."""
        self.world.answer(OFFERS, "x", "q", "v", None, NOW, ELSEWHERE)
        for number in (1, 2, 3):
            before, charged = self.held()
            self.world.add_candidates(OFFERS, "x", "q", ["c" * 1000] * number, NOW, ELSEWHERE)
            after, now_charged = self.held()
            self.assertEqual(after - before, now_charged - charged)
            self.assertGreater(now_charged - charged, 2 * 1000 * number)

    def test_refresh_needs_no_more_than_it_adds(self) -> None:
        """Where the memory is full, an offer can be published again as it is, and not as one that is larger."""
        size = self.world.table.memory.held
        world = World(memory=size, share=0.0)
        for _ in range(2):
            world.publish("p", [spec("v=0", id="x")], NOW, HERE)
        self.assertEqual(world.table.memory.held, size)
        self.assertRaises(Full, world.publish, "p", [spec("v=00", id="x")], NOW, HERE)
        self.assertRaises(Full, world.publish, "p", [spec("v=0", id="y")], NOW, HERE)
