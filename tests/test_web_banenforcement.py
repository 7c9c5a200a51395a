"""What networks have open when they are banned: looked through bit by bit."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.bans import Bans
from rendezvous.errors import RendezvousError
from rendezvous.web.banenforcement import ENDED, LOOKED_AT, BanEnforcement
from rendezvous.web.held import HeldRequests
from tests._web_case import WebTestCase

BANNED, OTHER = "198.51.100.7", "203.0.113.9"


class Held:
    """
    A request that waits.

    :ivar ended: with what it has ended.
    """

    def __init__(self, host: str, held: HeldRequests) -> None:
        self.host, self._held = host, held
        self.ended: list[str] = []
        held.add(self)

    def end(self, error: RendezvousError) -> None:
        """End."""
        self.ended.append(error.code)
        self._held.remove(self)


class BanEnforcementTests(SynchronousTestCase):
    """Requests that wait, on a clock."""

    def setUp(self) -> None:
        """Nothing is open, and one network is banned."""
        self.clock, self.held = Clock(), HeldRequests()
        self.bans = Bans()
        self.bans.begin(BANNED, None, "", 0.0)
        self.enforcement = BanEnforcement(self.bans, self.clock, self.held, cast(Any, ()))

    def open(self, count: int, host: str = BANNED) -> list[Held]:
        """:returns: so many requests of a host."""
        return [Held(host, self.held) for _ in range(count)]

    def ended(self, held: list[Held]) -> int:
        """:returns: how many have ended, each of them once."""
        self.assertLessEqual({tuple(each.ended) for each in held}, {(), ("banned",)})
        return sum(len(each.ended) for each in held)

    def turns(self, held: list[Held], most: int = 100) -> list[int]:
        """:returns: how many have ended after each turn of the reactor."""
        found = [self.ended(held)]
        while self.clock.getDelayedCalls() and len(found) < most:
            self.turn()
            found.append(self.ended(held))
        return found

    def turn(self) -> None:
        """Let the reactor do what is due; a clock would go on with what this has scheduled."""
        [call] = self.clock.calls
        go_on = call.func
        call.cancel()
        go_on()

    def test_some_end_in_each_turn(self) -> None:
        """Those of other networks stay."""
        stay = self.open(30, OTHER)
        held = self.open(2 * ENDED + 5)
        self.enforcement.begin()
        self.assertEqual(self.turns(held), [ENDED, 2 * ENDED, 2 * ENDED + 5])
        self.assertEqual((self.ended(stay), list(self.held)), (0, stay))

    def test_some_are_looked_at_in_each_turn(self) -> None:
        """Those that stay do not count as ended."""
        self.open(2 * LOOKED_AT, OTHER)
        held = self.open(1)
        self.enforcement.begin()
        self.assertEqual(self.turns(held), [0, 0, 1])

    def test_second_ban_meanwhile(self) -> None:
        """All are looked at again, in the turns that come anyway."""
        first, second = self.open(2 * ENDED), self.open(10, OTHER)
        self.enforcement.begin()
        self.bans.begin(OTHER, None, "", 0.0)
        self.enforcement.begin()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertEqual(self.turns(first + second), [ENDED, 2 * ENDED, 2 * ENDED + 10])

    def test_what_has_ended_meanwhile(self) -> None:
        """It is not ended a second time."""
        held = self.open(ENDED + 2)
        self.enforcement.begin()
        self.held.remove(held[-1])
        self.held.remove(held[-1])
        self.turn()
        self.assertEqual([each.ended for each in held[-2:]], [["banned"], []])

    def test_server_that_stops(self) -> None:
        """Nothing more is looked at; after a new start it is."""
        held = self.open(2 * ENDED)
        self.enforcement.begin()
        self.enforcement.stop()
        self.enforcement.stop()
        self.assertEqual((self.clock.getDelayedCalls(), self.ended(held)), ([], ENDED))
        self.enforcement.begin()
        self.assertEqual(self.turns(held), [2 * ENDED])


class HeldTests(WebTestCase):
    """Requests that wait at a server."""

    def test_they_are_held_as_long_as_they_wait(self) -> None:
        """Until they are answered, or their client has left."""
        held = self.server.rendezvous.web.gate.held
        polls = [
            self.server.start_request("GET", f"/offers/answers?wait={wait}", headers=headers)
            for wait, headers in ((5, self.alice), (25, self.bob))
        ]
        self.assertEqual([each.host for each in held], ["198.51.100.7"] * 2)
        self.server.reactor.advance(5)
        self.assertIsNotNone(polls[0].response())
        self.assertEqual(len(list(held)), 1)
        polls[1].lose()
        self.server.reactor.advance(0)
        self.assertEqual(list(held), [])
