"""The server behind nginx and behind Caddy, with exactly the files of ``deploy`` that ``docs/operating.rst`` shows."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from twisted.trial.unittest import SynchronousTestCase

from tests.real_server import real_server
from tests.test_peers_process import require

DEPLOY = Path(__file__).parent.parent / "deploy"

#: Topics and ids that a path may hold only when it is passed on as it was written.
NAMES = (
    "plain",
    "a/b",
    "/",
    "//",
    "a//b/",
    "a/../b",
    "a..b",
    "...",
    "100%",
    "%2F",
    "%252F",
    "a?b#c",
    "a b+c",
    "é/ü",
    ";=&",
    "\\",
)

ORIGIN = {"Origin": "https://app.example"}

START_SECONDS, STOP_SECONDS = 10.0, 10.0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as port:
        number: int = port.getsockname()[1]
        return number


@contextmanager
def nginx(own_host: str, below_path: str, server_port: int, tls: tuple[Path, Path]) -> Iterator[tuple[int, int]]:
    """
    Run nginx with the two documented forms: one on a host of its own, one below a path.

    :returns: the ports of the two.
    """
    own, below = _free_port(), _free_port()
    certificate, key = tls
    for old, new in (
        ("listen 443 ", f"listen 127.0.0.1:{own} "),
        ("/etc/ssl/rendezvous.pem", str(certificate)),
        ("/etc/ssl/rendezvous.key", str(key)),
    ):
        assert own_host.count(old) == 1, old
        own_host = own_host.replace(old, new)
    assert own_host.count("127.0.0.1:5025") == below_path.count("127.0.0.1:5025") == 1
    own_host = own_host.replace("127.0.0.1:5025", f"127.0.0.1:{server_port}")
    below_path = below_path.replace("127.0.0.1:5025", f"127.0.0.1:{server_port}")
    with tempfile.TemporaryDirectory(prefix="nginx-") as directory:
        paths = "".join(
            f"{name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = Path(directory) / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {directory}/pid; error_log {directory}/error.log; events {{}}\n"
            f"http {{ access_log off; {paths}\n{own_host}\nserver {{ listen 127.0.0.1:{below};\n{below_path}\n}} }}\n"
        )
        with _running([str(_program("nginx")), "-c", str(configuration), "-p", directory], own, below):
            yield own, below


@contextmanager
def caddy(own_host: str, below_path: str, server_port: int, tls: tuple[Path, Path]) -> Iterator[tuple[int, int]]:
    """
    Run Caddy with the two documented forms: one on a host of its own, one below a path.

    :returns: the ports of the two.
    """
    own, below = _free_port(), _free_port()
    assert own_host.count("\nrendezvous.example {\n") == 1
    own_host = own_host.replace("rendezvous.example {", f":{own} {{\n\tbind 127.0.0.1\n\ttls {tls[0]} {tls[1]}")
    assert own_host.count("127.0.0.1:5025") == below_path.count("127.0.0.1:5025") == 1
    own_host = own_host.replace("127.0.0.1:5025", f"127.0.0.1:{server_port}")
    below_path = below_path.replace("127.0.0.1:5025", f"127.0.0.1:{server_port}")
    with tempfile.TemporaryDirectory(prefix="caddy-") as directory:
        configuration = Path(directory) / "Caddyfile"
        configuration.write_text(
            "{\n\tadmin off\n\tgrace_period 1s\n\tauto_https disable_redirects\n\tdefault_sni localhost\n}\n"
            f"{own_host}\nhttp://:{below} {{\n\tbind 127.0.0.1\n{below_path}\n}}\n"
        )
        command = [str(_program("caddy")), "run", "--config", str(configuration), "--adapter", "caddyfile"]
        with _running(command, own, below, HOME=directory, XDG_DATA_HOME=directory, XDG_CONFIG_HOME=directory):
            yield own, below


@contextmanager
def _running(command: list[str], *ports: int, **environ: str) -> Iterator[None]:
    """Run a proxy, which listens on these ports."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stderr=said, env={**os.environ, **environ})
        try:
            _wait_for(process, said, *ports)
            yield
        finally:
            _stop(process, said)


def _stop(process: subprocess.Popen[bytes], said: IO[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        said.seek(0)
        raise AssertionError(f"the proxy did not stop within {STOP_SECONDS:g} s:\n{said.read()}") from None


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _wait_for(process: subprocess.Popen[bytes], said: IO[str], *ports: int) -> None:
    until = time.monotonic() + START_SECONDS
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    said.seek(0)
                    raise AssertionError(f"the proxy did not start:\n{said.read()}") from None
                time.sleep(0.05)


class _ProxyTests(SynchronousTestCase if TYPE_CHECKING else object):  # type: ignore[misc]
    """Both forms of the configuration of a proxy, with a real server behind them."""

    program: ClassVar[str]
    package: ClassVar[str]
    #: The two forms, below ``deploy``.
    files: ClassVar[tuple[str, str]]
    #: Runs the proxy.
    proxy: ClassVar[Any]

    def setUp(self) -> None:
        """Start a server and the proxy."""
        require(_program(self.program), f"{self.program} (Debian: {self.package})")
        require(shutil.which("openssl"), "openssl")
        own_host, below_path = [(DEPLOY / name).read_text(encoding="utf-8") for name in self.files]
        directory = Path(self.mktemp())
        directory.mkdir()
        certificate, key = (directory / "cert.pem").resolve(), (directory / "key.pem").resolve()
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.load_verify_locations(certificate)
        # At the third registration a source has none left: what is tested is whose they are.
        limits = ("--source-registrations=0.02", f"--cors-origin={ORIGIN['Origin']}")
        options = ("--trusted-proxy=127.0.0.1", "--store=memory:", *limits)
        running = real_server(*options)
        server = running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        in_front = type(self).proxy(own_host, below_path, server.http_port, (certificate, key))
        self.own, self.below = in_front.__enter__()
        self.addCleanup(in_front.__exit__, None, None, None)

    def connect(self, own: bool, source: str = "127.0.0.1") -> http.client.HTTPConnection:
        """:returns: a connection to the proxy, from an address of the loopback network."""
        made: http.client.HTTPConnection
        if own:
            made = http.client.HTTPSConnection(
                "127.0.0.1", self.own, timeout=10, context=self.context, source_address=(source, 0)
            )
        else:
            made = http.client.HTTPConnection("127.0.0.1", self.below, timeout=10, source_address=(source, 0))
        self.addCleanup(made.close)
        return made

    def ask(
        self, own: bool, method: str, path: str, body: Any = None, source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, Any]:
        """:returns: the status and the body of an answer."""
        connection = self.connect(own, source)
        connection.putrequest(method, path if own else "/rendezvous" + path, skip_accept_encoding=True)
        data = b"" if body is None else json.dumps(body).encode()
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            connection.putheader(name, value)
        connection.endheaders(data)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def register(self, own: bool, source: str) -> dict[str, str]:
        """:returns: the credential of a new client."""
        status, made = self.ask(own, "POST", "/register", source=source)
        self.assertEqual(status, 200, made)
        return {"Authorization": f"Bearer {made['client_id']}:{made['private_id']}"}

    def test_topics_and_ids_are_passed_on_as_they_are(self) -> None:
        """Slashes, dots, percent signs and letters beyond ASCII, in both protocols and both forms."""
        for own, source in ((True, "127.0.1.2"), (False, "127.0.2.2")):
            alice, bob = self.register(own, source), self.register(own, source)
            for number, name in enumerate(NAMES):
                part = quote(name, safe="")
                # An id has no slashes.
                offer_id = f"{own} {number} {name}".replace("/", "|").replace("\\", "|")
                spec = {"sdp": f"v=0 {name}", "topics": [name], "id": offer_id}
                status, made = self.ask(own, "POST", "/offers", {"offers": [spec]}, **alice)
                self.assertEqual(status, 200, (own, name, made))
                status, found = self.ask(own, "GET", f"/offers/by-topic/{part}")
                self.assertIn(spec["sdp"], [offer["sdp"] for offer in found.get("offers", [])], (own, name, found))
                path = f"/offers/{quote(offer_id, safe='')}/answer"
                self.assertEqual(self.ask(own, "POST", path, {"sdp": "v=1"}, **bob)[0], 200, (own, name))
                status, made = self.ask(own, "POST", f"/{part}/offer", {"info": "x", "offer": name}, **ORIGIN)
                self.assertEqual(status, 200, (own, name, made))
                status, found = self.ask(own, "GET", f"/{part}/sessions", **ORIGIN)
                self.assertIn(name, [session["offer"] for session in found.get("sessions", [])], (own, name, found))

    def test_topic_of_two_dots_works_where_the_page_says(self) -> None:
        """In the paths of the offers protocol."""
        for own, source in ((True, "127.0.3.2"), (False, "127.0.4.2")):
            alice = self.register(own, source)
            spec = {"sdp": "v=0", "topics": [".."], "id": f"dots {own}"}
            self.assertEqual(self.ask(own, "POST", "/offers", {"offers": [spec]}, **alice)[0], 200)
            status, found = self.ask(own, "GET", "/offers/by-topic/%2E%2E")
            self.assertEqual((status, found.get("topic")), (200, ".."), found)

    def test_each_client_has_its_own_limits(self) -> None:
        """The proxy says where a request comes from, and a header of the client's own changes nothing."""
        for own, net in ((True, 5), (False, 6)):
            for last in (2, 3):
                forged = {"X-Forwarded-For": f"192.0.2.{last}", "Forwarded": "for=192.0.2.77"}
                statuses = [
                    self.ask(own, "POST", "/register", source=f"127.0.{net}.{last}", **(forged if number else {}))[0]
                    for number in range(3)
                ]
                self.assertEqual(statuses, [200, 200, 429], (own, last))

    def test_event_stream_arrives_at_once_and_stays(self) -> None:
        """What happens is seen while the stream is open."""
        for own, source in ((True, "127.0.7.2"), (False, "127.0.8.2")):
            alice, bob = self.register(own, source), self.register(own, source)
            stream = self.connect(own)
            stream.request("GET", "/events" if own else "/rendezvous/events", headers=alice)
            response = stream.getresponse()
            self.assertEqual(response.status, 200)
            self.assertIn(b"keep-alive", response.readline())
            spec = {"sdp": "v=0", "topics": ["t"], "id": f"stream {own}"}
            self.ask(own, "POST", "/offers", {"offers": [spec]}, **alice)
            path = f"/offers/{quote(f'stream {own}', safe='')}/answer"
            self.assertEqual(self.ask(own, "POST", path, {"sdp": "v=1 hello"}, **bob)[0], 200)
            lines = [response.readline() for _ in range(6)]
            self.assertIn(b"v=1 hello", b"".join(lines))

    def upgraded(self, own: bool, path: str, **headers: str) -> tuple[int, socket.socket]:
        """:returns: the status of the answer to the handshake of a WebSocket, and its connection."""
        connection = self.connect(own)
        key = base64.b64encode(os.urandom(16)).decode()
        shake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        path = path if own else "/rendezvous" + path
        connection.request("GET", path, headers={**shake, "Sec-WebSocket-Key": key, **headers})
        # What follows the headers belongs to the WebSocket, so it is not read into the response.
        connection.sock.settimeout(10)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.sock.recv(1)
            self.assertTrue(byte, head)
            head += byte
        return int(head.split()[1]), connection.sock

    def test_websocket_carries_messages_both_ways(self) -> None:
        """A publisher that is subscribed gets its own message."""
        for own in (True, False):
            status, sock = self.upgraded(own, "/signal")
            self.assertEqual(status, 101, own)
            frames = Connection(ConnectionType.CLIENT)
            for message in ({"type": "subscribe", "topics": ["t"]}, {"type": "publish", "topic": "t", "data": "hello"}):
                sock.sendall(frames.send(TextMessage(json.dumps(message))))
            received: list[Any] = []
            while not received:
                frames.receive_data(sock.recv(4096))
                received.extend(frames.events())
            self.assertEqual(json.loads(received[0].data)["data"], "hello", own)

    def test_pages_of_the_server_itself_may_open_websockets(self) -> None:
        """The server learns the host and port that a page has in its origin; pages of others stay out."""
        for own, origin in ((True, f"https://127.0.0.1:{self.own}"), (False, f"http://127.0.0.1:{self.below}")):
            self.assertEqual(self.upgraded(own, "/signal", Origin=origin)[0], 101, own)
            self.assertEqual(self.upgraded(own, "/signal", Origin="https://other.example")[0], 403, own)

    def test_http_2_is_offered(self) -> None:
        """Six connections to a host are not the end then."""
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", self.own), 10) as plain,
            self.context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            self.assertEqual(tls.selected_alpn_protocol(), "h2")


class NginxTests(_ProxyTests, SynchronousTestCase):
    """nginx."""

    program = "nginx"
    package = "nginx-light"
    files = ("nginx/rendezvous.conf", "nginx/below-a-path.conf")
    proxy = staticmethod(nginx)


class CaddyTests(_ProxyTests, SynchronousTestCase):
    """Caddy."""

    program = "caddy"
    package = "caddy"
    files = ("caddy/Caddyfile", "caddy/below-a-path.caddy")
    proxy = staticmethod(caddy)
