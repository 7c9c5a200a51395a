"""The protocols have the same names everywhere, and each can be turned off."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.protocols import Protocol
from rendezvous.settings import Settings
from rendezvous.testing import MemoryServer
from rendezvous.web.route import SHARED, Route


class ProtocolTests(SynchronousTestCase):
    """Tests of :class:`rendezvous.core.protocols.Protocol` against those who use it."""

    def routes(self, *without: str) -> list[Route]:
        """:returns: the routes of a server with some protocols off."""
        server = MemoryServer(without=without)
        self.addCleanup(server.stop)
        return server.rendezvous.routes()

    def test_settings_take_every_name(self) -> None:
        """Each protocol can be turned off alone."""
        for protocol in Protocol:
            self.assertEqual(Settings(without=protocol).without, (protocol.value,))

    def test_tag_of_a_route_is_a_protocol_or_shared(self) -> None:
        """And every shared tag has a route."""
        tags = {route.tag for route in self.routes()}
        self.assertEqual(tags, {*SHARED, *Protocol} - {Protocol.TRACKER, Protocol.STUN})

    def test_protocol_that_is_off_has_no_routes(self) -> None:
        """All others are served, but for the demo, which needs the offers."""
        for protocol in Protocol:
            off = {protocol, Protocol.DEMO} if protocol == Protocol.OFFERS else {protocol}
            served = {route.path for route in self.routes() if route.tag not in off}
            self.assertEqual({route.path for route in self.routes(protocol)}, served)

    def test_topics_are_served_for_either_of_two_protocols(self) -> None:
        """Without both, they are gone."""
        for without, served in ((("offers",), True), (("sessions",), True), (("offers", "sessions"), False)):
            self.assertEqual("/topics" in {route.path for route in self.routes(*without)}, served)
