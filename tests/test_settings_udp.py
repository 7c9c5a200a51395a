"""The settings of the UDP side: what each takes, at its bounds, below and above."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.settings import Settings, UDPPort, read_settings
from rendezvous.testing import MemoryServer
from rendezvous.wire.tracker import Dialect


class UDPPortTests(SynchronousTestCase):
    """``--udp-port``: a port, and how its tracker speaks."""

    def test_port_alone_is_documented(self) -> None:
        """The lowest, the highest and the defaults."""
        for text, number in (("0", 0), ("65535", 65535), ("5024", 5024)):
            self.assertEqual(read_settings({"udp-port": [text]}, {}).udp_port, (UDPPort(number, Dialect.DOCUMENTED),))
        self.assertEqual(Settings().udp_port, (UDPPort(5024), UDPPort(5026)))

    def test_dialect_stands_behind_a_colon(self) -> None:
        """Either name; several ports may differ."""
        read = read_settings({"udp-port": ["5024:documented", "3000:deployed", "1"]}, {}).udp_port
        self.assertEqual(read, (UDPPort(5024), UDPPort(3000, Dialect.DEPLOYED), UDPPort(1)))

    def test_environment_separates_by_blanks(self) -> None:
        """As with every repeatable option."""
        read = read_settings({}, {"RENDEZVOUS_UDP_PORT": "5024 3000:deployed"}).udp_port
        self.assertEqual(read, (UDPPort(5024), UDPPort(3000, Dialect.DEPLOYED)))

    def test_port_is_written_as_it_is_read(self) -> None:
        """The help and the documentation show it so."""
        self.assertEqual([str(UDPPort(1)), str(UDPPort(2, Dialect.DEPLOYED))], ["1", "2:deployed"])

    def test_bad_ports_are_refused_in_one_line(self) -> None:
        """Out of range, unknown dialects, and a colon too many or with nothing behind it."""
        for text in ("65536", "-1", "x", "", "5024:", ":deployed", "5024:Deployed", "5024:other", "1:deployed:", "1::"):
            with self.assertRaises(StartupError, msg=text) as caught:
                read_settings({"udp-port": [text]}, {})
            self.assertRegex(str(caught.exception), r"\A--udp-port must [^\n]*, not [^\n]*\Z")

    def test_unknown_dialect_names_those_that_are_known(self) -> None:
        """So that the operator need not look them up."""
        message = str(self.assertRaises(StartupError, read_settings, {"udp-port": ["1:x"]}, {}))
        self.assertIn(":documented or :deployed", message)

    def test_ports_are_opened_in_order(self) -> None:
        """One after the other, each with a protocol of its own."""
        server = MemoryServer(udp_port=(UDPPort(3000, Dialect.DEPLOYED), UDPPort(5024)))
        self.addCleanup(server.stop)
        self.assertEqual([port.port for port in server.udp_ports], [3000, 5024])


class WithoutTests(SynchronousTestCase):
    """``--without``: the dialects that are off."""

    def test_dialects_gather(self) -> None:
        """None by default; each that is named."""
        self.assertEqual(Settings().without, ())
        self.assertEqual(read_settings({"without": ["stun", "tracker"]}, {}).without, ("stun", "tracker"))
        self.assertEqual(
            read_settings({}, {"RENDEZVOUS_WITHOUT": "tracker rendezvous"}).without, ("tracker", "rendezvous")
        )

    def test_unknown_dialect_is_refused(self) -> None:
        """With the names of those that there are."""
        for text in ("turn", "STUN", "", "stun,tracker"):
            message = str(self.assertRaises(StartupError, read_settings, {"without": [text]}, {}))
            for name in ("--without", "rendezvous", "tracker", "stun"):
                self.assertIn(name, message)
