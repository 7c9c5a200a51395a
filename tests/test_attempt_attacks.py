"""Attacks with attempts on a whole server: what it sends to a victim."""

from __future__ import annotations

from typing import Any

from rendezvous.core.amplification import FACTOR
from rendezvous.udp.shared import Drop
from tests.test_inviting import AT_A, ServerCase

VICTIM = ("192.0.2.66", 5353)


class VictimTests(ServerCase):
    """The source of a datagram is forged: it is the address of a victim."""

    settings: dict[str, Any] = {  # noqa: RUF012 - never changed
        "no_source_limits": False, "source_requests": 0.0, "source_share": "100%", "attempts_per_minute": 0,
    }  # fmt: skip

    def test_address_checks_are_worth_no_more_than_four(self) -> None:
        """One observation of 80 bytes, and as many mapped candidates as are taken."""
        ports = [{"kind": "mapped", "host": VICTIM[0], "port": 7000 + number} for number in range(10)]
        attempt = self.begin(candidates=ports)
        self.forget()
        observation = self.a.observation(self.server, attempt, 1)
        self.server.deliver(observation, VICTIM, 1)
        for _ in range(20):
            self.server.reactor.advance(0)
            self.server.reactor.advance(0.05)
        sent = [datagram for port in self.server.udp_ports for datagram, to in port.sent if to[0] == VICTIM[0]]
        self.assertLessEqual(sum(map(len, sent)), FACTOR * len(observation))
        self.assertGreater(len(sent), 1)
        self.assertGreater(self.server.rendezvous.counters.totals()["dropped datagrams"][Drop.AMPLIFICATION_LIMIT], 0)

    def test_both_ports_earn_enough_for_all_checks(self) -> None:
        """Four candidates are checked three times each."""
        ports = [{"kind": "mapped", "host": AT_A[0], "port": 7000 + number} for number in range(4)]
        attempt = self.begin(candidates=ports)
        for port in (0, 1):
            self.server.deliver(self.a.observation(self.server, attempt, port), AT_A, port)
        for _ in range(10):
            self.server.reactor.advance(0)
            self.server.reactor.advance(0.05)
        sent = [to for datagram, to in self.server.udp_ports[1].sent if datagram.startswith(b"\x0b\x02")]
        self.assertEqual(sorted(sent), sorted([(AT_A[0], 7000 + number) for number in range(4)] * 3))

    def test_invitations_to_one_host_are_limited(self) -> None:
        """However many attempts there are: as many as answers, which they take nothing from."""
        self.server.deliver(self.b.key, VICTIM, 1)
        self.forget()
        for _ in range(300):
            attempt = self.begin()
            self.ask(self.a, "DELETE", f"/attempts/{attempt}")
        self.assertEqual(len(self.server.udp_ports[1].sent), 100)
        self.assertGreaterEqual(self.server.rendezvous.counters.totals()["dropped datagrams"][Drop.RATE_LIMIT], 200)
        self.forget()
        attempt = self.begin()
        self.assertEqual(self.observe(self.b, attempt, VICTIM), [1020, 1020])

    def test_observation_from_port_zero_is_dropped(self) -> None:
        """No probe can be sent there, and the peer must not get an address that its client cannot read."""
        attempt = self.begin()
        self.ask(self.b, "POST", f"/attempts/{attempt}/accept", {})
        for port in (0, 1):
            self.assertEqual(
                self.server.deliver(self.a.observation(self.server, attempt, port), (AT_A[0], 0), port), []
            )
        self.observe(self.b, attempt, ("203.0.113.2", 50000))
        self.ask(self.a, "GET", f"/attempts/{attempt}")
        self.server.reactor.advance(2)
        self.assertEqual(self.ask(self.b, "GET", f"/attempts/{attempt}")["code"], "udp-blocked")
