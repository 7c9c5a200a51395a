"""
Real peers against a real server, on loopback: other people's STUN clients, and sockets that find each other.

None of them shares a line of code with the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.real_server import RealServer, real_server

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
SECONDS = 10.0

DOCUMENTED, DEPLOYED = 0, 1


def require(there: object, what: str) -> None:
    """
    Insist on something that not every machine has.

    :raises SkipTest: if it is not there, unless this is CI, where it has to be.
    """
    if not there:
        if os.environ.get("CI") == "true":
            raise AssertionError(f"{what} is needed, and CI has to have it")
        raise SkipTest(f"{what} is not available here")


def loopback(family: socket.AddressFamily) -> str:
    """
    Name the loopback address of a family.

    :raises SkipTest: if the machine has none. That is no mistake in CI either: containers often lack IPv6.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((LOOPBACK[family], 0))
    except OSError as error:
        raise SkipTest(f"{LOOPBACK[family]} cannot be used here: {error}") from None
    return LOOPBACK[family]


class _PeerTests(SynchronousTestCase):
    """Each test has a server of its own, with a port for each of the tracker's dialects."""

    def setUp(self) -> None:
        """Start it."""
        running = ExitStack()
        self.server: RealServer = running.enter_context(real_server(udp_ports=("0", "0:deployed")))
        self.addCleanup(running.close)


class CoturnClientTests(_PeerTests):
    """``turnutils_stunclient`` of the coturn project learns its address."""

    def ask(self, family: socket.AddressFamily) -> str:
        """Run the program, and give the host that it was told."""
        program = shutil.which("turnutils_stunclient")
        require(program, "turnutils_stunclient (Debian: coturn)")
        assert program is not None
        command = [program, "-p", str(self.server.udp_ports[DOCUMENTED]), loopback(family)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS)
        found = re.search(r"UDP reflexive addr: (\S+):\d+$", done.stdout, re.MULTILINE)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIsNotNone(found, done.stdout)
        assert found is not None
        return found[1]

    def test_ipv4_client_is_told_its_address(self) -> None:
        """Over IPv4 the answer is an IPv4 address, although the server listens with one socket for both."""
        self.assertEqual(self.ask(socket.AF_INET), "127.0.0.1")

    def test_ipv6_client_is_told_its_address(self) -> None:
        """Over IPv6 the answer is an IPv6 address."""
        self.assertEqual(self.ask(socket.AF_INET6), "::1")


class AioiceTests(_PeerTests):
    """The ICE agent aioice uses the server as its STUN server."""

    def setUp(self) -> None:
        """See that it is installed."""
        require(find_spec("aioice"), "aioice (make test installs it)")
        super().setUp()

    def test_agent_gathers_a_server_reflexive_candidate(self) -> None:
        """
        The agent's own gathering yields the address that the server saw: without a NAT, that of the host candidate.

        It is given the loopback address, since left alone it gathers on all addresses but that.
        """
        from aioice import Connection

        async def gather() -> list[Any]:
            agent = Connection(ice_controlling=True, stun_server=("127.0.0.1", self.server.udp_ports[DOCUMENTED]))
            try:
                return list(await agent.get_component_candidates(1, ["127.0.0.1"]))
            finally:
                await agent.close()

        host, reflexive = asyncio.run(gather())
        self.assertEqual((host.type, reflexive.type), ("host", "srflx"))
        self.assertEqual((reflexive.host, reflexive.port), (host.host, host.port))

    def transact(self, family: socket.AddressFamily, *attributes: tuple[str, object]) -> tuple[Any, Any]:
        """Run one STUN transaction as the agent does; gives its response, and the address it was sent from."""
        from aioice import Connection, stun
        from aioice.ice import StunProtocol

        host = loopback(family)

        async def ask() -> tuple[Any, Any]:
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_datagram_endpoint(
                lambda: StunProtocol(Connection(ice_controlling=True)), local_addr=(host, 0)
            )
            request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
            request.attributes.update(attributes)
            request.add_message_integrity(b"known to no one here")  # which adds FINGERPRINT as well
            try:
                own = transport.get_extra_info("sockname")[:2]
                response, _ = await protocol.request(request, (host, self.server.udp_ports[DEPLOYED]))
                return response, own
            except stun.TransactionFailed as refused:
                return refused.response, own
            finally:
                await protocol.close()

        return asyncio.run(ask())

    def test_ipv4_transaction_gives_host_and_port(self) -> None:
        """The agent reads its own address in the response, and finds its FINGERPRINT right."""
        response, own = self.transact(socket.AF_INET)
        self.assertEqual(response.attributes["XOR-MAPPED-ADDRESS"], own)
        self.assertIn("FINGERPRINT", response.attributes)

    def test_ipv6_transaction_gives_host_and_port(self) -> None:
        """The same over IPv6, where the address is masked with the transaction's id as well."""
        response, own = self.transact(socket.AF_INET6)
        self.assertEqual(response.attributes["XOR-MAPPED-ADDRESS"], own)
        self.assertIn("FINGERPRINT", response.attributes)

    def test_connectivity_check_is_refused(self) -> None:
        """A request that is meant for another agent fails with error 420, which the agent can read."""
        response, _ = self.transact(socket.AF_INET, ("PRIORITY", 1))
        self.assertEqual(response.attributes["ERROR-CODE"], (420, ""))


class Peer:
    """
    An application that has nothing but a UDP socket.

    :param server: the port of the server's that it uses.
    """

    def __init__(self, family: socket.AddressFamily, server: int) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(SECONDS)
        self.socket.bind((LOOPBACK[family], 0))
        self.server = (LOOPBACK[family], server)

    def tell(self, **request: object) -> None:
        """Send the tracker something."""
        self.socket.sendto(json.dumps(request).encode(), self.server)

    def hear(self) -> tuple[str, dict[str, str]]:
        """Receive what the tracker says: the action and the data."""
        datagram, source = self.socket.recvfrom(2048)
        assert source[:2] == self.server, source
        message = json.loads(datagram)
        return message["action"], message.get("data", {})

    def ask(self, **request: object) -> tuple[str, dict[str, str]]:
        """Send, then receive."""
        self.tell(**request)
        return self.hear()

    def send(self, datagram: bytes, peeraddr: str) -> None:
        """Send another peer something, at the address that the tracker told."""
        host, _, port = peeraddr.rpartition(":")
        self.socket.sendto(datagram, (host.strip("[]"), int(port)))

    def receive(self) -> bytes:
        """Receive what another peer says."""
        datagram, source = self.socket.recvfrom(2048)
        assert source[:2] != self.server, datagram
        return datagram


class TrackerPeerTests(_PeerTests):
    """Two sockets that know nothing but the server find each other, and talk."""

    def peers(self, family: socket.AddressFamily, *ports: int) -> list[Peer]:
        """Open a socket for each of the server's ports named."""
        loopback(family)
        peers = [Peer(family, self.server.udp_ports[port]) for port in ports]
        for peer in peers:
            self.addCleanup(peer.socket.close)
        return peers

    def assertTalk(self, one: Peer, to_other: str, other: Peer, to_one: str) -> None:
        """Check that each receives what the other sends to the address that it was told."""
        one.send(b"from one", to_other)
        other.send(b"from the other", to_one)
        self.assertEqual(other.receive(), b"from one")
        self.assertEqual(one.receive(), b"from the other")

    def documented(self, family: socket.AddressFamily) -> None:
        """Introduce two peers to each other in the documented dialect, where both have to ask."""
        peers = self.peers(family, DOCUMENTED, DOCUMENTED)
        share_ids = []
        for peer in peers:
            action, data = peer.ask(action="announce")
            self.assertEqual(action, "announceReceived")
            share_ids.append(data["shareId"])
            self.assertEqual(peer.ask(action="pulse"), ("pulseReceived", {"status": "0", "overriden": "false"}))
            self.assertEqual(peer.ask(action="alive"), ("alived", {}))
        told = [peer.ask(action="push", shareId=wanted) for peer, wanted in zip(peers, share_ids[::-1], strict=True)]
        self.assertEqual([action for action, _ in told], ["pushReceived", "pushReceived"])
        self.assertTalk(peers[0], told[0][1]["peeraddr"], peers[1], told[1][1]["peeraddr"])

    def test_documented_dialect_over_ipv4(self) -> None:
        """Both announce, pulse and push; what each then sends to the other arrives."""
        self.documented(socket.AF_INET)

    def test_documented_dialect_over_ipv6(self) -> None:
        """The same over IPv6, whose addresses come in brackets."""
        self.documented(socket.AF_INET6)

    def deployed(self, family: socket.AddressFamily) -> None:
        """Introduce two peers to each other in the deployed dialect, where one asks and both are told."""
        one, other = self.peers(family, DEPLOYED, DEPLOYED)
        share_ids = []
        for peer in (one, other):
            action, data = peer.ask(action="announce")
            self.assertEqual(action, "announced")
            share_ids.append(data["shareId"])
            self.assertEqual(peer.ask(action="pulse"), ("pulseReceived", {"status": "0", "overriden": "false"}))
        action, pushed = one.ask(action="push", shareId=share_ids[1])
        self.assertEqual((action, pushed["peerShareId"]), ("pushed", share_ids[1]))
        action, income = other.hear()
        self.assertEqual((action, income["peerShareId"]), ("income", share_ids[0]))
        self.assertTalk(one, pushed["peeraddr"], other, income["peeraddr"])

    def test_deployed_dialect_over_ipv4(self) -> None:
        """Both announce and pulse, one pushes, and the other hears of it; what each then sends arrives."""
        self.deployed(socket.AF_INET)

    def test_deployed_dialect_over_ipv6(self) -> None:
        """The same over IPv6."""
        self.deployed(socket.AF_INET6)

    def test_peers_of_both_dialects_find_each_other(self) -> None:
        """A push at one port reaches a peer at the other, in the words and from the port that this peer knows."""
        one, other = self.peers(socket.AF_INET, DOCUMENTED, DEPLOYED)
        one.ask(action="announce")
        _, announced = other.ask(action="announce")
        _, pushed = one.ask(action="push", shareId=announced["shareId"])
        action, income = other.hear()
        self.assertEqual(action, "income")
        self.assertTalk(one, pushed["peeraddr"], other, income["peeraddr"])

    def test_an_overridden_port_is_where_the_peer_is_reached(self) -> None:
        """A peer that talks to the tracker on one socket and to peers on another says so, and is found there."""
        one, other, elsewhere = self.peers(socket.AF_INET, DOCUMENTED, DOCUMENTED, DOCUMENTED)
        one.ask(action="announce")
        _, announced = other.ask(action="announce")
        port = elsewhere.socket.getsockname()[1]
        _, data = other.ask(action="pulse", override=True, port=port)
        self.assertEqual(data, {"status": "0", "overriden": "true"})
        _, pushed = one.ask(action="push", shareId=announced["shareId"])
        one.send(b"from one", pushed["peeraddr"])
        self.assertEqual(elsewhere.receive(), b"from one")
