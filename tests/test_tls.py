"""
The dependencies together can serve TLS, which is what ``--http ssl:...`` relies on.

They come from several projects that move on their own, and a combination that installs need not work; this is how
``make lowest`` finds out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate, optionsForClientTLS
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.iosim import connect, makeFakeClient, makeFakeServer
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

NAME = "rendezvous.example"


def self_signed() -> PrivateCertificate:
    """Make a certificate for :data:`NAME` that is valid now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(certificate.public_bytes(Encoding.PEM) + private)
    return loaded


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
