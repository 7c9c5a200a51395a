"""A whole server whose wall clock is set, and whose process is paused: neither changes any state or delays anything."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryServer

ON_TIME = (1020).to_bytes(4, "big")
VERIFY = (1050).to_bytes(4, "big")
HOUR = 3600.0
ADDRESS = ("198.51.100.7", 40000)
PAGE = {"Origin": "https://app.example"}


class WallClockTests(SynchronousTestCase):
    """A server with a client that is online, and a session that somebody waits for."""

    def setUp(self) -> None:
        """Start it, in the file store: that keeps the time, too."""
        self.server = MemoryServer(store="sqlite:" + self.mktemp())
        self.server.reactor.advance(100)
        self.client_id, self.key, self.headers = self.server.register()
        self.assertEqual(self.server.deliver(self.key, ADDRESS), [ON_TIME])

    def tearDown(self) -> None:
        """Stop it."""
        self.server.stop()

    def status(self) -> tuple[str, float]:
        """:returns: the client's status, and since when it was last seen."""
        found = self.server.request("GET", f"/peer/{self.client_id}/udp/status", headers=self.headers).json()
        return found["status"], found["last_online"]

    def test_wall_clock_that_is_set_changes_no_state(self) -> None:
        """By minutes and by hours, forward and back; answers show the new time at once."""
        for jump in (300.0, -300.0, -100.0, 100.0, HOUR, -2 * HOUR, 30 * 24 * HOUR):
            self.server.wall_offset += jump
            self.server.reactor.advance(2)
            self.assertEqual(self.status(), ("ONLINE", 2.0), jump)
            self.assertEqual(self.server.deliver(self.key, ADDRESS), [ON_TIME], jump)
            shown = self.server.request("POST", "/verify", headers=self.headers).json()["timestamp"]
            self.assertEqual(shown, self.server.reactor.seconds() + self.server.wall_offset)
            self.assertEqual(self.server.deliver(self.key, ADDRESS), [ON_TIME], jump)

    def test_date_header_is_of_the_wall_clock(self) -> None:
        """Whatever the reactor's clock counts: ``twistd rendezvous`` gives it seconds since the machine's start."""
        for wall, date in ((1_800_000_000.5, "Fri, 15 Jan 2027 08:00:00 GMT"), (1.5, "Thu, 01 Jan 1970 00:00:01 GMT")):
            self.server.wall_offset = wall - self.server.reactor.seconds()
            self.assertEqual(self.server.request("GET", "/health").headers["date"], date)

    def test_wall_clock_that_is_set_delays_no_wait(self) -> None:
        """A request that is held ends after its own time."""
        for jump in (-100.0, -HOUR, HOUR):
            waiting = self.server.start_request("GET", "/offers/answers?wait=4", headers=self.headers)
            self.server.wall_offset += jump
            self.server.reactor.advance(3.5)
            self.assertIsNone(waiting.response(), jump)
            self.server.reactor.advance(0.5)
            response = waiting.response()
            assert response is not None
            self.assertEqual(response.json(), {"answers": [], "hasMore": False})

    def test_wall_clock_that_is_set_stalls_no_sweep(self) -> None:
        """A client that falls silent is freed at its time."""
        self.server.wall_offset -= HOUR
        live = self.server.rendezvous.store.live
        self.server.reactor.advance(209)
        self.assertEqual(len(live), 1)
        self.server.reactor.advance(3)
        self.assertEqual(len(live), 0)

    def test_pause_counts_towards_no_timeout(self) -> None:
        """A laptop that slept for an hour finds its clients as they were; what then passes counts."""
        self.server.reactor.advance(5)
        self.server.reactor.pause(HOUR)
        self.assertEqual(self.status(), ("ONLINE", 5.0))
        self.server.reactor.advance(28)
        self.assertEqual(self.server.deliver(self.key, ADDRESS), [ON_TIME])
        self.server.reactor.pause(HOUR)
        self.server.reactor.advance(34)
        self.assertEqual(self.server.deliver(self.key, ADDRESS), [VERIFY])

    def test_logout_is_remembered_on_the_wall_clock(self) -> None:
        """A pause of the process and a stop of the server make it no longer."""
        self.assertEqual(self.server.request("POST", "/logout", headers=self.headers).status, 200)
        self.server.wall_offset += 29 * 24 * HOUR
        self.assertEqual(self.server.request("GET", "/offers/mine", headers=self.headers).status, 401)
        self.server.wall_offset += 2 * 24 * HOUR
        self.assertEqual(self.server.request("GET", "/offers/mine", headers=self.headers).status, 200)
