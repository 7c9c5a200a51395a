"""Tests of :mod:`rendezvous.systemlimits`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from rendezvous import systemlimits
from rendezvous.listening import BACKLOG
from rendezvous.settings import Settings
from rendezvous.systemlimits import check_system, limit_of_system, receive_buffer, shortfalls
from rendezvous.udp.port import RECEIVE_BUFFER

SYSCTL = Path(__file__).parents[1] / "deploy" / "systemd" / "60-rendezvous.conf"

SETTINGS = Settings(max_clients=1_000_000, max_sockets=600, max_waiting=400)
ENOUGH = {"net.core.somaxconn": BACKLOG, "net.netfilter.nf_conntrack_max": 1_000_000}


def found(limits: Mapping[str, int] = ENOUGH, connections: int = 1000, buffer: int = RECEIVE_BUFFER) -> list[str]:
    """:returns: what is said of a system."""
    return list(shortfalls(SETTINGS, limits.get, connections, buffer))


class ShortfallTests(SynchronousTestCase):
    """What is too low is named with what is needed."""

    def test_enough_is_not_mentioned(self) -> None:
        """Nor is a limit that this system does not have."""
        self.assertEqual(found(), [])
        self.assertEqual(found({}), [])

    def test_each_limit_is_compared(self) -> None:
        """One less than needed is too low."""
        self.assertEqual(found(connections=999), ["999 connections instead of 1000 (open files)"])
        [text] = found(buffer=RECEIVE_BUFFER - 1)
        self.assertTrue(text.endswith(f"instead of {RECEIVE_BUFFER} (net.core.rmem_max)"), text)
        for name, least in ENOUGH.items():
            self.assertEqual(found({**ENOUGH, name: least - 1}), [f"{name} is {least - 1} instead of {least}"])


class CheckTests(SynchronousTestCase):
    """What is said at the start."""

    def said(self) -> list[str]:
        """:returns: the limits that are named in each line that a check logs."""
        with capturedLogs() as events:
            check_system(SETTINGS)
        self.assertEqual({event["event"] for event in events} - {"limits_low"}, set())
        return [str(event["limits"]) for event in events]

    def test_everything_is_in_one_line(self) -> None:
        """However much is too low; nothing is logged if all is well."""
        self.patch(systemlimits, "connections_within", lambda files: 10)
        self.patch(systemlimits, "receive_buffer", lambda: 20)
        self.patch(systemlimits, "limit_of_system", lambda name: 30)
        [limits] = self.said()
        self.assertEqual(limits.count("instead of"), 4)
        self.patch(systemlimits, "connections_within", lambda files: 1000)
        self.patch(systemlimits, "receive_buffer", lambda: RECEIVE_BUFFER)
        self.patch(systemlimits, "limit_of_system", ENOUGH.get)
        self.assertEqual(self.said(), [])

    def test_system_is_asked(self) -> None:
        """A limit that is not there, or that is no number, is none."""
        self.assertGreater(receive_buffer(), 1000)
        self.assertIsNone(limit_of_system("net.core.nothing_of_this_name"))
        self.assertIsNone(limit_of_system("kernel.ostype"))
        if Path("/proc/sys/fs/nr_open").exists():
            self.assertGreater(limit_of_system("fs.nr_open") or 0, 0)


class SysctlFileTests(SynchronousTestCase):
    """``deploy/systemd/60-rendezvous.conf``."""

    def test_limits_are_enough(self) -> None:
        """For a million clients, by the server's own check; each line is a name and a number."""
        lines = [line.removeprefix("# ") for line in SYSCTL.read_text().splitlines() if " = " in line]
        limits = {name: int(value) for name, _, value in (line.partition(" = ") for line in lines)}
        self.assertEqual(list(shortfalls(Settings(), limits.get, 1_000_000, limits["net.core.rmem_max"])), [], limits)
        self.assertLessEqual(set(ENOUGH), set(limits))
        self.assertGreaterEqual(limits["fs.nr_open"], 1_048_576)
