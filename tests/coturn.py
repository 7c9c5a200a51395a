"""coturn's server in a process of its own, as a TURN server on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from hmac import digest
from itertools import islice
from pathlib import Path

import attrs

from rendezvous.client import IceServer
from tests import certificates

__all__ = ["SECRET", "Coturn", "coturn", "program"]

SECRET = "north"
REALM = "rendezvous.example"
HOST = "127.0.0.1"
START_SECONDS = 20.0


@attrs.frozen
class Coturn:
    """
    A running server.

    :ivar port: UDP and TCP.
    :ivar tls_port: TLS.
    :ivar certificate: of the server, for ``localhost``, in PEM.
    """

    port: int
    tls_port: int
    certificate: bytes
    process: subprocess.Popen[bytes]

    def ice_servers(self, *transports: str, username: str = "2100000000:alice") -> list[IceServer]:
        """
        Make what an answer of the rendezvous server would hold, as :rfc:`7065` and coturn's documentation have it.

        :param transports: ``udp``, ``tcp`` or ``tls``.
        """
        uris = {
            "udp": f"turn:{HOST}:{self.port}?transport=udp",
            "tcp": f"turn:{HOST}:{self.port}?transport=tcp",
            "tls": f"turns:localhost:{self.tls_port}?transport=tcp",
        }
        credential = b64encode(digest(SECRET.encode(), username.encode(), "sha1")).decode()
        return [IceServer(tuple(uris[transport] for transport in transports), username, credential)]


def program() -> str | None:
    """:returns: where coturn's server is, or ``None`` if it is not installed."""
    return shutil.which("turnserver")


@contextmanager
def coturn(*options: str) -> Iterator[Coturn]:
    """
    Run a server that relays between addresses of loopback, with credentials of the REST scheme (``use-auth-secret``).

    :param options: further ones.
    """
    found = program()
    assert found is not None, "turnserver (Debian: coturn) is not installed"
    certificate, key = certificates.pem("localhost")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coturn-")))
        (directory / "certificate").write_bytes(certificate)
        (directory / "key").write_bytes(key)
        port, tls_port = islice(_free_ports(), 2)
        # Without workers it is one thread, which is enough here.
        command = [found, "-n", "--no-cli", "--no-rfc5780", "--no-dtls", "--relay-threads=0", "--allow-loopback-peers"]
        command += [f"--listening-ip={HOST}", f"--relay-ip={HOST}", f"--listening-port={port}"]
        command += [f"--tls-listening-port={tls_port}", f"--cert={directory}/certificate", f"--pkey={directory}/key"]
        command += ["--use-auth-secret", f"--static-auth-secret={SECRET}", f"--realm={REALM}"]
        command += ["--log-file=stdout", f"--pidfile={directory}/pid", f"--userdb={directory}/db", *options]
        log = stack.enter_context((directory / "log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
        try:
            for listening in (port, tls_port):
                _wait_for(listening, process, directory / "log")
            yield Coturn(port, tls_port, certificate, process)
        finally:
            process.kill()
            process.wait()


def _free_ports() -> Iterator[int]:
    """
    Find ports that are free for UDP and TCP, below those that the system gives out.

    Processes that run tests at the same time begin at different ones: two servers would share a port without a word.
    """
    for port in range(21_000 + os.getpid() % 900 * 10, 32_000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp, suppress(OSError):
            udp.bind((HOST, port))
            tcp.bind((HOST, port))
            yield port


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"turnserver does not listen on {port}:\n{log.read_text('utf-8', 'replace')}")
