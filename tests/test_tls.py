"""
The dependencies together can serve TLS, which is what ``--http ssl:...`` relies on.

They come from several projects that move on their own, and a combination that installs need not work; this is how
``make lowest`` finds out.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.iosim import connect, makeFakeClient, makeFakeServer
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from tests.certificates import NAME, self_signed


class Ask(Protocol):
    """
    Asks once, and keeps the answer.

    :param answers: where what comes is appended.
    """

    def __init__(self, answers: bytearray) -> None:
        self.answers = answers

    def connectionMade(self) -> None:
        """Ask."""
        assert self.transport is not None
        self.transport.write(b"GET / HTTP/1.0\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        """Keep what comes."""
        self.answers += data


class ServingTests(SynchronousTestCase):
    """Twisted, pyOpenSSL and cryptography work with each other."""

    def test_every_connection_is_served(self) -> None:
        """A site with one certificate, which also negotiates its protocol, serves one connection after another."""
        certificate = self_signed()
        options = certificate.options()
        assert isinstance(options, CertificateOptions)
        clock = Clock()
        root = Resource()
        root.putChild(b"", Data(b"present", "text/plain"))
        site = Site(root, reactor=clock)
        server = TLSMemoryBIOFactory(options, False, site, clock)
        answers = bytearray()
        asking = Factory.forProtocol(partial(Ask, answers))
        for _ in range(2):
            trust = optionsForClientTLS(NAME, trustRoot=certificate)
            client = TLSMemoryBIOFactory(trust, True, asking, clock)
            inward, outward = server.buildProtocol(None), client.buildProtocol(None)
            pump = connect(inward, makeFakeServer(inward), outward, makeFakeClient(outward), clock=clock)
            pump.flush()
        self.assertEqual(answers.count(b"200 OK"), 2)
        self.assertEqual(answers.count(b"present"), 2)
