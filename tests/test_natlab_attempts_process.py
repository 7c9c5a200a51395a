"""Attempts in the NAT laboratory that are disturbed: by a hostile client, a refusal, a restart, many interfaces."""

from __future__ import annotations

import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from tests._natlab_case import NatlabCase
from tests.natlab.cells import CELLS, Cell
from tests.natlab.network import SERVER, STRANGER, TURN
from tests.natlab.probing import arrived
from tests.natlab.programs import Rendezvous
from tests.natlab.stage import Stage

#: Seconds for whatever has to come.
PATIENCE = 30.0

APART = CELLS["port-restricted/port-restricted"]


class AttemptCase(NatlabCase):
    """A cell, set up, in which a test disturbs attempts."""

    def stage(self, cell: Cell = APART) -> Stage:
        """:returns: a cell, which is removed after the test."""
        stage = Stage(cell)
        stage.__enter__()
        self.addCleanup(stage.__exit__, None, None, None)
        return stage

    def assertConnected(self, stage: Stage, caller: Rendezvous) -> dict[str, Any]:
        """Both sides say that they have connected; the path is ended. :returns: what the caller says of it."""
        _, event = caller.event("connected", "failed", patience=PATIENCE)
        self.assertEqual(event["event"], "connected", event)
        stage.listener.event("connected", patience=PATIENCE)
        self.assertEqual(caller.finish(), 0)
        stage.listener.event("closed", patience=PATIENCE)
        return event

    def wait_for(self, stage: Stage, *ways: str) -> None:
        """Wait until a datagram has gone one of these ways through the core, counted from the last time."""
        deadline = time.monotonic() + PATIENCE
        while not any(way in stage.network.carried() for way in ways):
            self.assertLess(time.monotonic(), deadline, f"no datagram went {' or '.join(ways)}")
            time.sleep(0.01)


class VictimTests(AttemptCase):
    """A client names the address of somebody who has nothing to do with it, as each kind of candidate."""

    VICTIM = (STRANGER, f"::ffff:{STRANGER}", "2a11:7::4")
    HOSTILE = (sys.executable, "-m", "tests.natlab.hostile", ",".join(VICTIM))

    def assert_spared(self, stage: Stage) -> None:
        """Nothing has gone to the victim, and something that goes there would have been seen."""
        time.sleep(0.3)
        carried = stage.network.carried()
        self.assertGreater(carried.get("server>b", 0) + carried.get("server>a", 0), 0)
        self.assertEqual([way for way in carried if way.endswith(">stranger")], [])
        sender = stage.network.namespaces.socket("host-a")
        self.addCleanup(sender.close)
        sender.sendto(b"seen", (STRANGER, 7777))
        self.wait_for(stage, "a>stranger")

    def test_hostile_caller(self) -> None:
        """Neither the server nor the peer sends the victim a single datagram; the attempt goes on without it."""
        stage = self.stage(CELLS["symmetric+ipv6/symmetric+ipv6"])
        stage.network.carried()
        self.assertConnected(stage, stage.connect(command=self.HOSTILE))
        self.assert_spared(stage)

    def test_hostile_listener_on_the_network_of_the_caller(self) -> None:
        """Clients behind one NAT are given each other's private addresses, and no public one that was not observed."""
        stage = self.stage(CELLS["port-restricted/port-restricted:same-nat"])
        stage.listener.stop()
        stage.listen(command=self.HOSTILE)
        stage.network.carried()
        caller = stage.connect()
        # Without hairpinning, and without the private address of the listener, there may be no path.
        caller.event("connected", "failed", patience=PATIENCE)
        self.assert_spared(stage)


class RefusalTests(AttemptCase):
    """An invited client that declines."""

    def test_no_address_is_revealed(self) -> None:
        """Nothing that reaches the caller's network has an address of the client that declines, in text or bytes."""
        stage = self.stage()
        hosts = (stage.site_b.outside, f"{stage.site_b.inside}2")
        forms = [form for host in hosts for form in (host.encode(), socket.inet_aton(host))]
        tap = stage.network.namespaces.tap(stage.site_a.name, "wan")
        self.addCleanup(tap.close)

        def revealed() -> list[bytes]:
            frames = [data for _, data, _ in arrived([tap], 0.5)]
            self.assertTrue(any(b"HTTP/1.1 201" in frame for frame in frames))
            return [form for form in forms if any(form in frame for frame in frames)]

        stage.listener.stop()
        stage.listen("--allow", "0" * 32)
        arrived([tap], 0)
        caller = stage.connect()
        _, event = caller.event("connected", "failed", patience=PATIENCE)
        self.assertEqual((event["event"], event["code"]), ("failed", "declined"))
        caller.event("ended", patience=PATIENCE)
        self.assertEqual(caller.process.wait(PATIENCE), 1)
        self.assertEqual(revealed(), [])
        self.assertEqual(stage.punched(), 0)

        # The same with a client that accepts, to see that this is where addresses would be.
        stage.listener.stop()
        stage.listen()
        self.assertConnected(stage, stage.connect())
        self.assertIn(forms[0], revealed())


class RestartTests(AttemptCase):
    """The server is killed, or stopped, and started again in the middle of an attempt."""

    def restarting(self, begin: Callable[[Stage], Rendezvous], go_on: Callable[[Stage], None]) -> None:
        """
        Connect, once for each way in which a server can end.

        :param begin: starts the caller, and returns when the server is to be ended.
        :param go_on: called while there is no server.
        """
        stage = self.stage()
        for number in (signal.SIGKILL, signal.SIGINT):
            stage.network.carried()
            caller = begin(stage)
            stage.stop_server(number)
            go_on(stage)
            self.assertConnected(stage, caller)

    def test_before_the_peer_has_seen_the_invitation(self) -> None:
        """A peer that begins to listen after the restart gets the invitation."""

        def begin(stage: Stage) -> Rendezvous:
            stage.listener.stop()
            stage.network.carried()
            caller = stage.connect()
            self.wait_for(stage, "a>server")
            return caller

        def go_on(stage: Stage) -> None:
            stage.start_server()
            stage.listen()

        self.restarting(begin, go_on)

    def test_when_the_peer_is_about_to_accept(self) -> None:
        """A peer that has the invitation accepts as soon as the server is there again."""

        def begin(stage: Stage) -> Rendezvous:
            stage.listener.process.send_signal(signal.SIGSTOP)
            stage.network.carried()
            caller = stage.connect()
            # The caller has the attempt, so the invitation is on its way.
            self.wait_for(stage, "a>server")
            return caller

        def go_on(stage: Stage) -> None:
            stage.listener.process.send_signal(signal.SIGCONT)
            time.sleep(0.5)
            stage.start_server()

        self.restarting(begin, go_on)

    def test_while_the_sides_are_observed(self) -> None:
        """Observations that the server before has not seen are sent to the next one."""

        def begin(stage: Stage) -> Rendezvous:
            stage.network.cut(stage.site_a, TURN)
            caller = stage.connect()
            self.wait_for(stage, "b>server")
            return caller

        def go_on(stage: Stage) -> None:
            stage.start_server()
            stage.network.mend(stage.site_a)

        self.restarting(begin, go_on)

    def test_while_probes_are_sent(self) -> None:
        """An attempt whose first round fails meanwhile connects in a later one."""

        def begin(stage: Stage) -> Rendezvous:
            stage.network.cut(stage.site_a, SERVER)
            caller = stage.connect()
            self.wait_for(stage, "b>a")
            return caller

        def go_on(stage: Stage) -> None:
            stage.start_server()
            stage.network.mend(stage.site_a)

        self.restarting(begin, go_on)


class InterfacesTests(AttemptCase):
    """Hosts with many interfaces that lead nowhere."""

    RUNS = 3

    def test_twenty_bridges_make_no_difference(self) -> None:
        """Two hosts with twenty bridges of containers each connect as fast as two without."""
        bridges = CELLS["port-restricted+20bridges/port-restricted+20bridges"]
        with_bridges, without = (self.median(cell) for cell in (bridges, APART))
        self.assertLess(with_bridges, without + 0.1)

    def median(self, cell: Cell) -> float:
        """:returns: the median of the seconds that it takes to connect."""
        with Stage(cell) as stage:
            took = [float(self.assertConnected(stage, stage.connect())["ms"]) / 1000 for _ in range(self.RUNS)]
        return statistics.median(took)
