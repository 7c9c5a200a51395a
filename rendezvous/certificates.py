"""Certificates of ``ssl:`` endpoints that can be read again while connections are open."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from OpenSSL import SSL, crypto
from zope.interface import implementer

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions

from rendezvous.errors import StartupError
from rendezvous.settings import Endpoint

__all__ = ["Certificate", "check_port", "tls_endpoint", "unusable"]

#: The port of an endpoint that has one, given by its place or by its name.
_PORT = re.compile(r"(?i:tcp6?|ssl):(?:(?:.*:)?port=)?([^:=]*)(?::.*)?")


class _Capture:
    """Stands where an endpoint expects a reactor, and keeps the TLS options that the endpoint would listen with."""

    options: CertificateOptions | None = None

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> None:
        """Open no port."""
        self.options = contextFactory


class _Listener:
    """Stands where an endpoint expects a reactor, and listens with a certificate that can be replaced."""

    def __init__(self, reactor: Any, certificate: Certificate) -> None:
        self._reactor = reactor
        self._certificate = certificate

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Open the port."""
        return self._reactor.listenSSL(port, factory, self._certificate, backlog, interface)


@implementer(IOpenSSLServerConnectionCreator)
class Certificate:
    """
    The certificate, its key and its chain, as an endpoint's description names them.

    New connections use what was read last. Connections that are open keep what they began with.

    :param endpoint: an endpoint whose description begins with ``ssl:``.
    :raises Exception: it cannot be read; which exception depends on the reason.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._options = self._read()

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        """:returns: OpenSSL's side of a new connection."""
        return self._options.serverConnectionForTLS(protocol)

    @property
    def expires(self) -> float:
        """:returns: when the certificate in use ends, in seconds since the epoch; NaN if it does not say so."""
        certificate = self._options.certificate
        ends = None if certificate is None else certificate.get_notAfter()
        if ends is None:
            return float("nan")
        return datetime.strptime(ends.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()

    def read_again(self) -> CertificateOptions:
        """
        Read the files again, without using them yet.

        :returns: what :meth:`use` takes.
        :raises StartupError: they cannot be used; the message is one line.
        """
        try:
            return self._read()
        except Exception as e:  # Twisted, OpenSSL and the file system each have their own.
            raise unusable(self._endpoint, e) from None

    def use(self, options: CertificateOptions) -> None:
        """Use these files for connections that are opened from now on."""
        self._options = options

    def _read(self) -> CertificateOptions:
        capture = _Capture()
        failures: list[Any] = []
        serverFromString(capture, self._endpoint.description).listen(Factory()).addErrback(failures.append)
        if failures:
            failures[0].raiseException()
        assert capture.options is not None, "an ssl: endpoint listens with TLS"  # noqa: S101 - Twisted's own
        # It is made now, so that a key that does not belong to the certificate is found now.
        capture.options.getContext()
        return capture.options


def tls_endpoint(reactor: Any, endpoint: Endpoint) -> tuple[Any, Certificate]:
    """:returns: Twisted's endpoint for a description that begins with ``ssl:``, and its certificate."""
    certificate = Certificate(endpoint)
    return serverFromString(_Listener(reactor, certificate), endpoint.description), certificate


def check_port(endpoint: Endpoint) -> None:
    """
    See that the port of an endpoint is one. Twisted finds out late, and raises what only a programmer understands.

    :raises StartupError: it is not a number from 0 to 65535.
    """
    match = _PORT.fullmatch(endpoint.description)
    if match and not (re.fullmatch(r"[0-9]{1,5}", match[1]) and int(match[1]) <= 65535):
        raise StartupError(
            f"{endpoint.place} {endpoint.description!r} is not a usable endpoint: the port must be a number from 0 to"
            f" 65535, not {match[1]!r}"
        )


def unusable(endpoint: Endpoint, error: Exception) -> StartupError:
    """
    :param error: what reading the description of the endpoint raised.
    :returns: the error for the operator, whose message is one line.
    """
    return StartupError(f"{endpoint.place} {endpoint.description!r} is not a usable endpoint: {_reason(error)}")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, (SSL.Error, crypto.Error)):
        # OpenSSL's errors are a list of tuples, whose last part is for people.
        reasons = ", ".join(str(part[-1]) for parts in error.args[:1] for part in parts)
        return f"one of its files is not a certificate or private key in PEM format, or is damaged ({reasons})"
    if isinstance(error, (TypeError, AttributeError, LookupError)) or text.startswith("invalid literal"):
        # Twisted passes the parts of the description to functions of its own, and Python names those.
        return (
            "an argument is missing, unknown or wrong; tcp:8080 and ssl:443:privateKey=key.pem:certKey=cert.pem are"
            " examples"
        )
    return text or type(error).__name__
