"""Tests of :mod:`rendezvous.web.sources`: the address that a request counts for."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from rendezvous.core.sources import UNKNOWN
from rendezvous.web.sources import MAX_HOPS, Proxies, source_of

PROXY = "10.0.0.1"
CLIENT = "198.51.100.7"


class _Request:
    """A request as far as it is looked at."""

    def __init__(self, peer: Any, **headers: str | list[str]) -> None:
        self._peer = peer
        self.requestHeaders = Headers()
        for name, values in headers.items():
            lines = [values] if isinstance(values, str) else values
            self.requestHeaders.setRawHeaders(name.replace("_", "-"), lines)

    def getClientAddress(self) -> Any:  # noqa: N802 - Twisted's name
        """:returns: the address of the peer."""
        return self._peer


def peer(host: str) -> Any:
    """:returns: the address of a TCP peer."""
    return IPv6Address("TCP", host, 1) if ":" in host else IPv4Address("TCP", host, 1)


class ProxiesCase(SynchronousTestCase):
    """A server that trusts the networks of its proxies."""

    def setUp(self) -> None:
        """Trust one network of each family."""
        self.proxies = Proxies(("10.0.0.0/8", "2001:db8:1::/48"))

    def source(self, host: str = PROXY, **headers: str | list[str]) -> str:
        """:returns: the source of a request, as a subscriber."""
        request = _Request(peer(host), **headers)
        found = self.proxies.source(request)
        self.assertIs(source_of(request), found)
        return found.subscriber


class PeerTests(ProxiesCase):
    """Requests without headers, or from a peer that is not a proxy."""

    def test_peer_is_the_source(self) -> None:
        """Also a proxy that names none, and IPv4 as a socket of both families shows it."""
        for host, subscriber in (
            (CLIENT, CLIENT), (PROXY, PROXY), (f"::ffff:{CLIENT}", CLIENT), ("2001:db8::1:2:3", "2001:db8::/64"),
        ):  # fmt: skip
            self.assertEqual(self.source(host), subscriber)

    def test_headers_of_others_are_ignored(self) -> None:
        """Just outside the networks, and where none is trusted."""
        said = {"X_Forwarded_For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
        for host in ("9.255.255.255", "11.0.0.0", "2001:db8:2::1"):
            self.assertNotEqual(self.source(host, **said), "192.0.2.1")
        for host in ("10.0.0.0", "10.255.255.255", "::ffff:10.0.0.1", "2001:db8:1::1", "2001:db8:1:ffff::1"):
            self.assertEqual(self.source(host, **said), "192.0.2.1")
        self.proxies = Proxies()
        self.assertEqual(self.source(PROXY, **said), PROXY)

    def test_unix_sockets_are_trusted_if_that_was_said(self) -> None:
        """Otherwise they are a source that no limit counts."""
        request = _Request(UNIXAddress("/run/x"), X_Forwarded_For=CLIENT)
        self.assertIs(self.proxies.source(request), UNKNOWN)
        self.assertIs(source_of(request), UNKNOWN)
        self.proxies = Proxies(("unix",))
        self.assertEqual(self.proxies.source(request).subscriber, CLIENT)
        self.assertIs(self.proxies.source(_Request(UNIXAddress("/run/x"))), UNKNOWN)
        self.assertEqual(self.source(PROXY, X_Forwarded_For=CLIENT), PROXY)

    def test_peer_that_is_no_socket_of_ours_is_not_trusted(self) -> None:
        """An address without a host that is not a UNIX socket's may say nothing of others."""
        self.proxies = Proxies(("unix",))
        self.assertIs(self.proxies.source(_Request(object(), X_Forwarded_For=CLIENT)), UNKNOWN)

    def test_request_that_was_not_looked_at_has_no_source(self) -> None:
        """No limit counts it."""
        self.assertIs(source_of(object()), UNKNOWN)


class ForwardedForTests(ProxiesCase):
    """``X-Forwarded-For``."""

    def test_it_is_read_from_the_right_to_the_first_that_is_not_trusted(self) -> None:
        """What stands to the left was written by that one."""
        for text, subscriber in (
            (CLIENT, CLIENT),
            (f"192.0.2.66, {CLIENT}", CLIENT),
            (f"192.0.2.66, {CLIENT}, 10.1.2.3, 10.0.0.9", CLIENT),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            (f"  {CLIENT}\t", CLIENT),
            (f"{CLIENT}:4711", CLIENT),
            (f"::ffff:{CLIENT}", CLIENT),
            ("2001:db8:7::1", "2001:db8:7::/64"),
            ("[2001:db8:7::1]:4711", "2001:db8:7::/64"),
            (f"{CLIENT},2001:db8:1::5", CLIENT),
        ):
            self.assertEqual(self.source(X_Forwarded_For=text), subscriber, text)

    def test_lines_are_one_list(self) -> None:
        """The last element of the last line is the nearest."""
        self.assertEqual(self.source(X_Forwarded_For=["192.0.2.66", CLIENT, "10.9.9.9"]), CLIENT)

    def test_the_other_header_is_not_read_after_it(self) -> None:
        """A client that comes from within the trusted networks could name any address in it."""
        self.assertEqual(self.source(X_Forwarded_For="10.1.1.1", Forwarded="for=192.0.2.66"), "10.1.1.1")

    def test_malformed_element_ends_the_reading(self) -> None:
        """The source is the last address that could be read: the proxy that wrote it."""
        for junk in (
            "",
            "unknown",
            "_hidden",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "example.org",
            "[::1",
            "1.2.3.4:x",
            "\xff",
        ):
            self.assertEqual(self.source(X_Forwarded_For=f"{CLIENT}, {junk}"), PROXY, junk)
            self.assertEqual(self.source(X_Forwarded_For=f"{CLIENT}, {junk}, 10.5.5.5"), "10.5.5.5", junk)

    def test_it_counts_more_than_forwarded(self) -> None:
        """A proxy that writes it may let the other one pass."""
        self.assertEqual(self.source(X_Forwarded_For=CLIENT, Forwarded="for=192.0.2.66"), CLIENT)

    def test_number_of_hops_is_bounded(self) -> None:
        """An endless list of proxies is not read to its end."""
        hops = [f"10.1.{number >> 8}.{number & 255}" for number in range(1000)]
        self.assertEqual(self.source(X_Forwarded_For=", ".join(hops)), hops[-MAX_HOPS])


class ForwardedTests(ProxiesCase):
    """``Forwarded`` (RFC 7239)."""

    def test_a_quote_that_is_open_at_the_end_of_a_line(self) -> None:
        """It hides nothing of the lines that proxies have added behind it."""
        for line in ('for="192.0.2.66', 'for="', '"', 'for=192.0.2.66;by="x'):
            added = f'for={CLIENT};by="_proxy"'
            self.assertEqual(self.source(Forwarded=[line, added]), CLIENT, line)
            self.assertEqual(self.source(Forwarded=[line, added, 'for="10.5.5.5";by="_y"']), CLIENT, line)

    def test_several_lines_are_one_list(self) -> None:
        """The last element of the last line was added last."""
        self.assertEqual(
            self.source(Forwarded=["for=192.0.2.66", f"for={CLIENT}, for=10.1.1.1", "for=10.2.2.2"]), CLIENT
        )

    def test_quotes_that_are_never_closed_take_little_time(self) -> None:
        """A header of 16 KB that is made of them is read in some milliseconds, and what the proxy has added counts."""
        open_quote = 'for="' + '\\"' * 8000
        began = time.process_time()
        self.assertEqual(self.source(Forwarded=f"{open_quote}, for={CLIENT}"), CLIENT)
        self.assertEqual(self.source(Forwarded=f'{open_quote}, for="{CLIENT}:80";by=_x'), PROXY)
        self.assertEqual(self.source(Forwarded=open_quote), PROXY)
        self.assertLess(time.process_time() - began, 0.5)

    def test_examples_of_the_standard(self) -> None:
        """Section 4, and section 6 for the forms of addresses."""
        for text, subscriber in (
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
            ('For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::/64"),
            ('for="192.0.2.43:47011"', "192.0.2.43"),
            ('for=198.51.100.17;host="a,b;c"', "198.51.100.17"),
            ('for=198.51.100.17 ; by="\\"q\\"", for=10.2.3.4', "198.51.100.17"),
            ("proto=https;for=198.51.100.17", "198.51.100.17"),
        ):
            self.assertEqual(self.source(Forwarded=text), subscriber, text)

    def test_malformed_element_ends_the_reading(self) -> None:
        """Obfuscated and unknown names, no name at all, and what is no element."""
        for junk in (
            "",
            "for=unknown", 'for="_gazonk"', "for=", "for", "proto=http", "for==1.2.3.4", 'for="1.2.3.4', "for=[::1]",
            f"for={CLIENT}; =", "\xff=1",
        ):  # fmt: skip
            self.assertEqual(self.source(Forwarded=f"for={CLIENT}, {junk}" if junk != "" else " "), PROXY, junk)
            self.assertIn(self.source(Forwarded=f"{junk}, for=10.5.5.5"), ("10.5.5.5",), junk)

    @given(st.text(st.characters(max_codepoint=255), max_size=100))
    def test_any_text_gives_a_source(self, text: str) -> None:
        """Nothing is raised, whatever a proxy lets pass."""
        text = text.translate(dict.fromkeys(map(ord, "\r\n\0")))
        for name in ("Forwarded", "X_Forwarded_For"):
            request = _Request(peer(PROXY))
            request.requestHeaders.setRawHeaders(name.replace("_", "-").encode(), [text.encode("latin-1")])
            self.assertIsNot(self.proxies.source(request), UNKNOWN)
