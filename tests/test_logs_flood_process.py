"""How much an anonymous attacker can make a real server log, at each of its ports."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests._process_case import PATIENCE, ForegroundCase
from tests.certificates import pem

#: Seconds for which each port is attacked, and the threads that do it.
SECONDS, THREADS = 1.5, 4

#: Bytes that all of it may add to the log: a line a minute for each family of counts, and once more at the end.
ALLOWED = 8_000

#: What a server logs that nobody attacks.
LIFE = {
    "server_started", "server_stopping", "server_stopped", "store_chosen", "store_read", "listening",
    "connections_allowed", "limits_low",
}  # fmt: skip

Junk = Iterable[bytes]

_HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_PATHS = (
    b"/", b"/nope", b"/%00%ff", b"/register", b"/offers", b"/offers/by-topic/%2e%2e", b"/events?ticket=x", b"/signal",
    b"/peerjs?key=x&id=y&token=z", b"/peer/" + b"0" * 32 + b"/udp", b"/logout", b"/t/offer", b"/attempts/x/accept",
    b"/rpc", b"/metrics", b"/overview", b"/clients/x/kick", b"/bans", b"/log", b"/ice?" + b"=" * 100,
)  # fmt: skip
_BODIES = (
    b"",
    b"{}",
    b"[" * 1000,
    b'{"offers": [{"sdp": 1}]}',
    b'{"offer": "\\ud800"}',
    b"\xff\xfe",
    b"null",
    b"9" * 500,
)


def requests() -> Junk:
    """Give requests of all kinds, good and bad."""
    for path in _PATHS:
        yield _HANDSHAKE % path
        yield _HANDSHAKE % path + b"\x81\x7f" + b"\xff" * 8 + os.urandom(200)
        for method in (b"GET", b"POST", b"DELETE", b"PUT", b"OPTIONS", b"get"):
            for body in _BODIES:
                yield (
                    b"%s %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nX-Forwarded-For: \x1b[2J, 1.2.3\r\n"
                    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % (method, path, b"0" * 97, len(body))
                ) + body
    yield from (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: [\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        os.urandom(3000),
        b"\r\n" * 100,
    )


def proxied() -> Junk:
    """Give headers of the PROXY protocol, most of them bad."""
    v2 = b"\r\n\r\n\x00\r\nQUIT\n"
    for text in (b"UNKNOWN", b"TCP4 1.2.3.4 5.6.7.8 1 2", b"TCP4 x y z", b"TCP6 1.2.3.4 ::1 99999 -1", b"\xff" * 40):
        yield b"PROXY " + text + b"\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    for kind in range(0, 256, 5):
        for family in (0x00, 0x11, 0x21, 0x31, 0xFF):
            yield v2 + bytes([kind, family]) + struct.pack("!H", random.choice((0, 3, 12, 36, 65535))) + os.urandom(40)
    yield from (os.urandom(300), b"PROXY" + b" " * 200, v2)


def datagrams() -> Junk:
    """Give datagrams of every protocol, most of them bad."""
    for size in (0, 1, 4, 20, 31, 32, 33, 64, 100, 1400):
        yield os.urandom(size)
        yield os.urandom(size).hex().encode()
        yield b'{"action":"announce","x":"' + b"\\ud800" * size + b'"}'
        yield b"\x00\x01" + struct.pack("!H", size // 4 * 4) + b"\x21\x12\xa4\x42" + os.urandom(12 + size // 4 * 4)
    yield from (b"{", b'{"action":1}', b'{"action":"push"}', b"[" * 1000, b'{"a":' * 200)


class FloodTests(ForegroundCase):
    """The log after attacks on each port in turn."""

    def setUp(self) -> None:
        """Start a server with ports of all kinds."""
        super().setUp()
        (self.directory / "tls.pem").write_bytes(b"".join(pem("localhost")))
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        where = "0:interface=127.0.0.1"
        endpoints = f"tcp:{where}", f"ssl:{where}:privateKey=tls.pem:certKey=tls.pem", f"haproxy:tcp:{where}"
        options = f"--admin=tcp:{where}", "--udp-port=0", "--log-format=json"
        with open(self.directory / "out.log", "w") as out, open(self.directory / "err.log", "w") as err:
            self.process = self.launch_words(out, err, *(f"--http={each}" for each in endpoints), *options)
        self.addCleanup(self.kill)
        self.eventually(lambda: len(self.listening()) == 5, "listening")
        self.tcp, self.tls, self.haproxy, self.admin, self.udp = self.listening()
        self.sent = Counter[int]()

    def events(self) -> list[dict[str, Any]]:
        """:returns: the lines of the log."""
        return [json.loads(line) for line in (self.directory / "out.log").read_text().splitlines()]

    def listening(self) -> list[int]:
        """:returns: the ports, in the order of the options; that of operators before UDP."""
        found = [event for event in self.events() if event["event"] == "listening"]
        return [int(event["address"].rpartition(":")[2]) for event in found]

    def attack(self, act: Callable[[bytes], object], junk: Callable[[], Junk]) -> None:
        """Send junk from several threads."""
        end = time.monotonic() + SECONDS

        def go_on() -> None:
            while True:
                for each in junk():
                    if time.monotonic() > end:
                        return
                    try:
                        act(each)
                    except OSError:
                        continue

        threads = [threading.Thread(target=go_on) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def connect(self, port: int) -> socket.socket:
        """:returns: a connection from an address of the loopback network, so that each has limits of its own."""
        self.sent[port] += 1
        source = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"
        return socket.create_connection(("127.0.0.1", port), 1, (source, 0))

    def pour(self, port: int) -> Callable[[bytes], None]:
        """:returns: what sends to a TCP port, and often leaves with a reset."""

        def act(data: bytes) -> None:
            with self.connect(port) as sock:
                sock.settimeout(0.05)
                sock.sendall(data)
                if random.random() < 0.5:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    sock.recv(1000)

        return act

    def pour_tls(self, data: bytes) -> None:
        """Send within TLS, and break it off in odd ways."""
        with self.connect(self.tls) as sock:
            sock.settimeout(1)
            if random.random() < 0.3:
                sock.sendall(data)
                return
            secured = self.context.wrap_socket(sock, server_hostname="x" * random.randrange(1, 60))
            secured.sendall(data)
            # What is no record of TLS, on a connection that has one.
            if random.random() < 0.5:
                os.write(secured.fileno(), b"GET / HTTP/1.1\r\n\r\n")
            secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            secured.close()

    def test_log_grows_by_counts_alone(self) -> None:
        """Whatever is sent, it is counted in a line a minute, and the server goes on."""
        self.attack(self.pour(self.tcp), requests)
        self.attack(self.pour_tls, requests)
        self.attack(self.pour(self.haproxy), proxied)
        self.attack(self.pour(self.admin), requests)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            self.attack(lambda data: sock.sendto(data, ("127.0.0.1", self.udp)), datagrams)
        for port in (self.tcp, self.tls, self.haproxy, self.admin):
            self.assertGreater(self.sent[port], 50)
        self.assertTrue(self.client("127.0.0.1", (self.tcp, self.udp)).client_id)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        lines = (self.directory / "out.log").read_text().splitlines()
        caused = [line for line in lines if json.loads(line)["event"] not in LIFE]
        self.assertEqual({json.loads(line)["event"] for line in caused}, {"counted"}, caused)
        self.assertLess(sum(map(len, caused)), ALLOWED, caused)
        self.assertEqual((self.directory / "err.log").read_text(), "")
