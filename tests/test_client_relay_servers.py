"""Which TURN servers a list of ICE servers holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import IceServer
from rendezvous.client.relay.servers import MAX_SERVERS, Transport, TurnServer, turn_servers


def entry(*urls: str, username: str | None = "alice", credential: str | None = "secret") -> IceServer:
    """Make an ICE server."""
    return IceServer(urls, username, credential)


class TurnServersTests(SynchronousTestCase):
    """The answer of a server, and what others might send."""

    def assertRead(self, uri: str, transport: Transport, host: str, port: int) -> None:
        """Check what a URI is read as."""
        self.assertEqual(turn_servers([entry(uri)]), [TurnServer(transport, host, port, host, "alice", "secret")])

    def test_uris_of_the_rfc(self) -> None:
        """RFC 7065, section 4 and appendix B, with the ports and transports that they leave open."""
        for uri, transport, host, port in (
            ("turn:example.org", Transport.UDP, "example.org", 3478),
            ("turns:example.org", Transport.TLS, "example.org", 5349),
            ("turn:example.org:8000", Transport.UDP, "example.org", 8000),
            ("turn:example.org?transport=udp", Transport.UDP, "example.org", 3478),
            ("turn:example.org?transport=tcp", Transport.TCP, "example.org", 3478),
            ("turns:example.org?transport=tcp", Transport.TLS, "example.org", 5349),
            ("TURN:192.0.2.1:1?TRANSPORT=TCP", Transport.TCP, "192.0.2.1", 1),
            ("turn:[2001:db8::1]", Transport.UDP, "2001:db8::1", 3478),
            ("turn:[2001:db8::1]:65535", Transport.UDP, "2001:db8::1", 65535),
        ):
            self.assertRead(uri, transport, host, port)

    def test_other_uris_are_passed_over(self) -> None:
        """STUN, DTLS, ports that are none, and what is no URI at all; the others of the entry are kept."""
        others = [
            "stun:example.org", "turns:example.org?transport=udp", "turn:example.org?transport=sctp",
            "turn:example.org:0", "turn:example.org:65536", "turn:", "turn::3478", "turn:user@example.org",
            "turn:2001:db8::1", "turn:[example.org]x", "http://example.org", "",
        ]  # fmt: skip
        for other in others:
            self.assertEqual([server.host for server in turn_servers([entry(other, "turn:kept")])], ["kept"], other)

    def test_entry_without_a_credential_is_passed_over(self) -> None:
        """Also if a part of it is too long for a message, or cannot be written in UTF-8."""
        cases: list[dict[str, str | None]] = [
            {"username": None}, {"credential": None}, {"username": "a" * 509}, {"username": "\ud800"},
            {"credential": "\ud800"}, {"credential": "a" * 1025},
        ]  # fmt: skip
        for members in cases:
            self.assertEqual(turn_servers([entry("turn:example.org", **members)]), [], members)
        self.assertEqual(len(turn_servers([entry("turn:example.org", username="a" * 508)])), 1)

    def test_list_is_bounded_and_without_repetitions(self) -> None:
        """In its order."""
        uris = [f"turn:host{number // 2}.example" for number in range(100)]
        hosts = [server.host for server in turn_servers([entry(*uris)])]
        self.assertEqual(hosts, [f"host{number}.example" for number in range(MAX_SERVERS)])

    def test_password_is_not_shown(self) -> None:
        """Neither as text nor as a representation, which end up in logs."""
        [server] = turn_servers([entry("turn:example.org", credential="do not show")])
        self.assertNotIn("do not show", f"{server} {server!r}")
        self.assertEqual(str(server), "udp example.org:3478")
        [server] = turn_servers([entry("turns:[2001:db8::1]")])
        self.assertEqual(str(server), "tls [2001:db8::1]:5349")

    @given(st.lists(st.builds(IceServer, st.lists(st.text() | st.just("turn:x")).map(tuple), st.text(), st.text())))
    def test_any_text_is_read(self, servers: list[IceServer]) -> None:
        """Whatever a server sends, nothing raises."""
        self.assertLessEqual(len(turn_servers(servers)), MAX_SERVERS)
