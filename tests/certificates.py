"""Certificates for tests, made by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from twisted.internet.ssl import PrivateCertificate

__all__ = ["NAME", "pem", "self_signed"]

NAME = "rendezvous.example"


def pem(host: str = NAME) -> tuple[bytes, bytes]:
    """:returns: a certificate for a host that is valid now, and its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def self_signed() -> PrivateCertificate:
    """:returns: a certificate with its key, as Twisted has it."""
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(b"".join(pem()))
    return loaded
