"""Attempts under random verbs: what must hold whatever clients do, and in whatever order."""

from __future__ import annotations

import contextlib
import random
import tracemalloc

from rendezvous.core.attempts.attempt import AddressCheck, Facilities, Given, Outcome
from rendezvous.core.connect import Candidate, CandidateKind, Via
from rendezvous.errors import RendezvousError
from tests._attempt_case import NOW, AttemptCase

CLIENTS = [bytes([number]) * 16 for number in range(6)]
#: Addresses of others, which no client is ever to send to, and where each client really is.
VICTIMS = [("192.0.2.66", 5000), ("2001:db8:66::1", 5000), ("192.0.2.67", 443)]
KINDS = (CandidateKind.HOST, CandidateKind.MAPPED, CandidateKind.RELAYED)


class ModelTests(AttemptCase):
    """A long random walk of several clients."""

    def setUp(self) -> None:
        """Begin with what has been observed of nobody."""
        super().setUp()
        self.versions: dict[tuple[bytes, bytes], int] = {}
        self.nonces: dict[bytes, bytes] = {}
        self.sent: set[tuple[str, int]] = set()

    def test_whatever_clients_do(self) -> None:
        """No address of somebody else is passed on or checked; versions grow; and nothing is left at the end."""
        for seed in range(12):
            self.setUp()
            self.table.facilities = Facilities(has_relay=seed % 2 == 0, relay_hosts=frozenset({"192.0.2.9"}))
            self.walk(random.Random(seed))

    def walk(self, chance: random.Random) -> None:
        """Take random steps, then let everything end."""
        now = NOW
        attempts: list[bytes] = [bytes(8)]
        for _ in range(300):
            now += chance.choice((0.0, 0.01, 0.1, 0.3, 5.0))
            with contextlib.suppress(RendezvousError):  # A verb may be refused; what it leaves is looked at below.
                self.step(chance, now, attempts)
            if chance.random() < 0.5:
                self.look(now)
            self.check(chance.choice(attempts), now)
        for _ in range(10):
            now += 30.0
            self.look(now)
        self.assertEqual((len(self.table), self.table.due(now).next), (0, None))
        self.assertEqual((self.table._going, self.table._invited), ({}, {}))
        self.assertFalse(self.sent & set(VICTIMS))

    def step(self, chance: random.Random, now: float, attempts: list[bytes]) -> None:
        """Do something."""
        client, attempt, verbs = chance.choice(CLIENTS), chance.choice(attempts[-8:]), self.attempts
        match chance.randrange(8):
            case 0:
                peer = chance.choice(CLIENTS)
                attempts.append(verbs.begin(client, peer, self.said(chance), now).attempt)
            case 1:
                verbs.accept(client, attempt, self.said(chance), now)
            case 2:
                verbs.name_candidates(client, attempt, self.said(chance).candidates, now)
            case 3 if chance.random() < 0.2:
                verbs.end(client, attempt, now)
            case 4 if chance.random() < 0.2:
                verbs.report(client, attempt, Outcome(chance.random() < 0.5, chance.choice(list(Via))), now)
            case 5 if self.nonces:
                name, nonce = chance.choice(list(self.nonces.items()))
                verbs.take_check_answer(name, nonce, now)
            case _:
                self.time += chance.randrange(3)
                place = (f"198.51.100.{client[0] // 2}", 40000 + chance.randrange(12))
                verbs.observe(client, attempt, chance.randrange(5), self.time, chance.randrange(3), place, now)

    def said(self, chance: random.Random) -> Given:
        """:returns: candidates of which some are true and some are not."""
        places = [*VICTIMS, ("10.0.0.5", 5000), ("198.51.100.1", 7000), ("192.0.2.9", 49152), ("127.0.0.1", 5000)]
        named = tuple(Candidate(chance.choice(KINDS), chance.choice(places)) for _ in range(chance.randrange(8)))
        return Given(named, chance.random(), chance.random() < 0.5)

    def look(self, now: float) -> None:
        """Take what is due."""
        for each in self.table.due(now).sends:
            if isinstance(each, AddressCheck):
                self.nonces[each.attempt] = each.nonce
                self.sent.add(each.address)

    def check(self, attempt: bytes, now: float) -> None:
        """See what each side sees."""
        for client in CLIENTS:
            try:
                seen = self.attempts.see(client, attempt, now)
            except RendezvousError:
                continue
            self.assertGreaterEqual(seen.version, self.versions.get((client, attempt), 0))
            self.versions[client, attempt] = seen.version
            self.assertLessEqual(len(self.table.joined(client, now)), 4)
            if seen.go is None:
                continue
            self.assertTrue(seen.takes_part)
            places = {each.address for each in seen.go.candidates}
            self.assertFalse(places & set(VICTIMS))
            self.assertEqual(len(places), len(seen.go.candidates))
            self.assertLessEqual(len(places), 32)
            self.assertTrue(not seen.state.over or seen.state == "done")


class MemoryTests(AttemptCase):
    """What an attempt takes of the memory."""

    def test_largest_attempt_has_a_bound(self) -> None:
        """Ten candidates of each side, two families, two rounds, checks: under 16 KB; an attempt of a usual size, 8."""
        for candidates, rounds, most in ((10, 2, 16_000), (3, 1, 8_000)):
            self.make(most=1000)
            tracemalloc.start()
            try:
                for number in range(100):
                    self.fill(number, candidates, rounds)
                self.noted.clear()
                self.touched.clear()
                self.keys.clear()
                size = tracemalloc.get_traced_memory()[0] / 100
            finally:
                tracemalloc.stop()
            self.assertLess(size, most)

    def fill(self, number: int, candidates: int, rounds: int) -> None:
        """Begin an attempt, and have both sides say and show as much as they may."""
        sides = [(2 * number + each).to_bytes(16, "big") for each in range(2)]
        said = []
        for side in range(2):
            hosts = [f"2001:db8:{number:x}:{side}::{each:x}" for each in range(candidates)]
            said.append(Given(tuple(Candidate(CandidateKind.MAPPED, (host, 50000)) for host in hosts)))
        attempt = self.attempts.begin(sides[0], sides[1], said[0], NOW).attempt
        self.attempts.accept(sides[1], attempt, said[1], NOW)
        for round in range(1, rounds + 1):
            for side in range(2):
                for family in range(2):
                    for port in range(2):
                        self.time += 1
                        host = f"2001:db8:{number:x}:{side}::{port:x}" if family else f"198.51.{number}.{side}"
                        place = (host, 40000 + round + port)
                        self.attempts.observe(sides[side], attempt, round, self.time, port, place, NOW)
