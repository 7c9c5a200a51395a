"""Tests for :mod:`rendezvous.client.portmap.upnp`, with miniupnpc replaced and its thread left out."""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client.network.gateway import Gateway
from rendezvous.client.portmap import BUDGET, PortMapper, PortMapping
from rendezvous.client.portmap.upnp import make_device
from rendezvous.testing import MemoryReactor
from tests._gateways import HOST, OUTSIDE, ROUTER, FakeRouter

LOCAL = 40000


class FakeDevice:
    """
    A router with UPnP.

    :ivar mappings: lifetime by external port.
    :ivar trouble: what every call raises.
    """

    def __init__(self) -> None:
        self.discoverdelay = 0
        self.lanaddr = HOST
        self.address = OUTSIDE
        self.mappings: dict[int, int] = {}
        self.trouble: Exception | None = None
        self.discoveries = self.additions = 0

    def fail(self) -> None:
        """Raise what there is to raise."""
        if self.trouble is not None:
            raise self.trouble

    def discover(self) -> int:
        """Be found."""
        self.discoveries += 1
        return 1

    def selectigd(self) -> object:
        """Be chosen."""
        self.fail()
        return "http://192.168.1.1/"

    def externalipaddress(self) -> str:
        """:returns: the external address."""
        self.fail()
        return self.address

    def addportmapping(self, external: int, protocol: str, host: str, port: int, *rest: Any) -> bool:
        """Make a mapping."""
        self.fail()
        assert (protocol, host, port) == ("UDP", HOST, external)
        self.additions += 1
        self.mappings[external] = rest[-1]
        return True

    def deleteportmapping(self, external: int, protocol: str) -> bool:
        """Remove a mapping."""
        self.fail()
        assert protocol == "UDP"
        del self.mappings[external]
        return True


class UpnpTests(SynchronousTestCase):
    """What UPnP does where PCP and NAT-PMP do nothing."""

    def setUp(self) -> None:
        """Have a router without PCP and NAT-PMP, and a mapper that may use UPnP."""
        self.reactor = MemoryReactor()
        self.router = FakeRouter(self.reactor)
        self.device = FakeDevice()
        self.waiting: list[Any] = []
        self.is_busy = False
        with patch("rendezvous.client.portmap.mapper._call_in_thread", self.call):
            self.mapper = PortMapper(
                self.reactor,
                upnp=True,
                make_device=lambda: self.device,
                find=lambda *, ipv6: None if ipv6 else Gateway(ROUTER, HOST),
                secret=bytes(range(32)),
                draw=lambda low, high: 0,
            )
        self.changes: list[tuple[str, int, str] | None] = []

    def call(self, _: object, function: Any, *words: Any) -> Deferred[Any]:
        """Call a function at once, or when the test says so."""
        if not self.is_busy:
            return maybeDeferred(function, *words)
        result: Deferred[Any] = Deferred()
        self.waiting.append(lambda: maybeDeferred(function, *words).chainDeferred(result))
        return result

    def changed(self, mapping: PortMapping | None) -> None:
        """Keep a change."""
        self.last = mapping
        self.changes.append(None if mapping is None else (mapping.host, mapping.port, mapping.protocol))

    def map(self) -> PortMapping | None:
        """:returns: the result of a request, after 250 ms."""
        result = self.mapper.map(LOCAL, on_change=self.changed)
        self.router.advance(BUDGET)
        mapping: PortMapping | None = self.successResultOf(result)
        return mapping

    def stop(self) -> None:
        """Stop; nothing is left to be done, and the router has no mapping."""
        stopped = self.mapper.stop()
        self.router.advance(1)
        self.successResultOf(stopped)
        self.assertEqual((self.reactor.getDelayedCalls(), self.device.mappings), ([], {}))

    def test_mapping(self) -> None:
        """It is made once the other protocols have led to nothing, for two hours, and given as a change."""
        self.assertIsNone(self.map())
        self.reactor.advance(0)
        self.assertEqual(self.changes, [(OUTSIDE, LOCAL, "upnp")])
        self.assertEqual(self.device.mappings, {LOCAL: 7200})
        self.stop()

    def test_other_protocols_come_first(self) -> None:
        """With a mapping of PCP, UPnP is not asked at all."""
        self.router.protocols = {"pcp"}
        mapping = self.map()
        assert mapping is not None
        self.router.advance(100)
        self.assertEqual((mapping.protocol, self.changes, self.device.discoveries), ("pcp", [], 0))
        released = mapping.release()
        self.router.pump()
        self.successResultOf(released)
        self.assertEqual(self.router.mappings, {})
        self.stop()

    def test_renewed_at_half_life(self) -> None:
        """Without discovering the router again."""
        self.map()
        self.router.advance(3601)
        self.assertEqual((self.device.additions, self.device.discoveries, len(self.changes)), (2, 1, 1))
        self.stop()

    def test_refused_renewal_is_a_change(self) -> None:
        """The mapping is lost."""
        self.map()
        self.device.trouble = Exception("ActionFailed")
        self.router.advance(3601)
        self.assertEqual(self.changes, [(OUTSIDE, LOCAL, "upnp"), None])
        self.device.trouble = None
        self.device.mappings.clear()
        self.stop()

    def test_no_router(self) -> None:
        """Nothing answers the multicast, or it refuses: there is no mapping, and no error."""
        for word in ("No UPnP device discovered", "OnlyPermanentLeasesSupported", "ConflictInMappingEntry"):
            self.setUp()
            self.device.trouble = Exception(word)
            self.assertIsNone(self.map())
            self.reactor.advance(0)
            self.assertEqual(self.changes, [])
            self.device.trouble = None
            self.stop()

    def test_double_nat(self) -> None:
        """A router without a public address makes no mapping."""
        self.device.address = "10.0.0.5"
        self.map()
        self.reactor.advance(0)
        self.assertEqual((self.changes, self.device.mappings), ([], {}))
        self.stop()

    def test_late_mapping_of_pcp_replaces_that_of_upnp(self) -> None:
        """One port has one mapping; one at another external port is removed."""
        self.router.protocols, self.router.is_on, self.router.offset = {"pcp"}, False, 1
        self.map()
        self.router.is_on = True
        self.router.advance(3)
        self.assertEqual(self.changes, [(OUTSIDE, LOCAL, "upnp"), (OUTSIDE, LOCAL + 1, "pcp")])
        self.assertEqual(self.device.mappings, {})
        self.stop()

    def test_late_mapping_of_pcp_at_the_same_port(self) -> None:
        """A router has one table for all protocols, so there is nothing to remove."""
        self.router.protocols, self.router.is_on = {"pcp"}, False
        self.map()
        self.router.is_on = True
        self.router.advance(3)
        self.assertEqual(self.changes, [(OUTSIDE, LOCAL, "upnp"), (OUTSIDE, LOCAL, "pcp")])
        self.assertEqual(self.device.mappings, {LOCAL: 7200})
        self.device.mappings.clear()
        self.stop()

    def test_pcp_is_faster_after_all(self) -> None:
        """A mapping of UPnP that comes after one of PCP is one too many."""
        self.router.protocols, self.router.is_on, self.router.offset = {"pcp"}, False, 1
        self.is_busy = True
        self.map()
        self.reactor.advance(0)
        self.router.is_on = True
        self.router.advance(3)
        self.is_busy = False
        while self.waiting:
            self.waiting.pop(0)()
        self.assertEqual((self.changes, self.device.mappings), ([(OUTSIDE, LOCAL + 1, "pcp")], {}))
        self.stop()

    def test_release(self) -> None:
        """A mapping of UPnP releases itself."""
        self.map()
        self.reactor.advance(0)
        assert self.last is not None
        released = self.last.release()
        self.reactor.advance(0)
        self.successResultOf(released)
        self.assertEqual((self.device.mappings, self.reactor.getDelayedCalls()), ({}, []))
        self.successResultOf(self.mapper.release(LOCAL))
        self.stop()

    def test_release_while_upnp_is_being_asked(self) -> None:
        """What is just being made is removed."""
        self.is_busy = True
        self.map()
        self.reactor.advance(0)
        stopped = self.mapper.stop()
        self.reactor.advance(0)
        self.assertNoResult(stopped)
        while self.waiting:
            self.waiting.pop(0)()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertEqual((self.device.additions, self.device.mappings, self.changes), (1, {}, []))

    def test_change_of_the_network(self) -> None:
        """The mapping is lost, and made again at a router that is discovered anew; PCP and NAT-PMP are tried again."""
        self.map()
        self.reactor.advance(0)
        asked = len(self.router.seen)
        self.mapper.network_changed()
        self.router.pump()
        self.assertGreater(len(self.router.seen), asked)
        self.router.advance(1)
        self.assertEqual(self.changes, [(OUTSIDE, LOCAL, "upnp"), None, (OUTSIDE, LOCAL, "upnp")])
        self.assertEqual(self.device.discoveries, 2)
        self.stop()

    def test_cancelled_request(self) -> None:
        """UPnP is not asked."""
        result = self.mapper.map(LOCAL, on_change=self.changed)
        result.cancel()
        self.failureResultOf(result)
        self.router.advance(10)
        self.assertEqual(self.device.discoveries, 0)
        self.stop()

    def test_failing_callback_does_no_harm(self) -> None:
        """An exception of the application's callback is logged."""
        self.mapper.map(LOCAL, on_change=lambda _: 1 / 0)  # type: ignore[arg-type]
        self.router.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.stop()

    def test_missing_library(self) -> None:
        """The error says which extra to install, and comes at once."""
        with patch.dict(sys.modules, {"miniupnpc": None}):
            error = self.assertRaises(ImportError, PortMapper, self.reactor, upnp=True)
            self.assertIn("twisted-rendezvous[upnp]", str(error))
            self.assertRaises(ImportError, make_device)
