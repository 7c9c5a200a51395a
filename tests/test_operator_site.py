"""The port of operators on a server in memory: who may come in, and what others learn."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.operator.token import load_token
from rendezvous.settings import Settings
from rendezvous.testing import Connection, MemoryReactor, MemoryServer, Response
from tests._operator_case import TOKEN, OperatorCase

WRONG = (None, "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer é")


class AdminCase(SynchronousTestCase):
    """A server with a port for operators."""

    def setUp(self) -> None:
        """Start it."""
        path = self.mktemp()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        self.server = MemoryServer(MemoryReactor(), admin="tcp:5027:interface=127.0.0.1", admin_token_file=path)
        self.addCleanup(self.server.stop)
        _, self.port = self.server.reactor.tcp_ports

    def ask(self, method: str, path: str, authorization: str | None = f"Bearer {TOKEN}", **headers: str) -> Response:
        """Send a request to the port of operators."""
        connection = Connection(self.port.factory, ("127.0.0.1", 40000))
        if authorization is not None:
            headers["Authorization"] = authorization
        connection.request(method, path, {"Host": "127.0.0.1:5027", **headers})
        self.server.reactor.advance(0)
        response = connection.response()
        assert response is not None
        connection.lose()
        return response


class AccessTests(AdminCase):
    """The token opens everything, and nothing opens without it."""

    def test_everything_is_401_without_the_token(self) -> None:
        """Whatever the method and the path, known or not, and nothing in the answer differs."""
        for authorization in WRONG:
            found = set()
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
                for path in ("/metrics", "/nothing", "/overview", "/metrics/", "/register", "/%6detrics"):
                    response = self.ask(method, path, authorization)
                    self.assertEqual(response.status, 401, (method, path, authorization))
                    if method != "HEAD":
                        found.add(response.body)
            self.assertEqual(len(found), 1)

    def test_metrics_with_the_token(self) -> None:
        """The format is that of Prometheus."""
        response = self.ask("GET", "/metrics")
        self.assertEqual(response.status, 200)
        self.assertTrue(response.headers["content-type"].startswith("text/plain"))
        self.assertIn(b'rendezvous_clients{status="online"} 0.0\n', response.body)

    def test_public_port_knows_nothing_of_it(self) -> None:
        """Not even with the token."""
        response = self.server.request("GET", "/metrics", None, {"Authorization": f"Bearer {TOKEN}"})
        self.assertEqual(response.status, 404)

    def test_routes_of_the_public_port_are_not_here(self) -> None:
        """The two ports have nothing in common."""
        for method, path in (("POST", "/register"), ("GET", "/health"), ("GET", "/offers/mine")):
            self.assertEqual(self.ask(method, path).status, 404)

    def test_strangers_keep_out_no_operator_of_their_address(self) -> None:
        """Requests without the token have a limit of their own: behind a proxy, all have one address."""
        found = [self.ask("GET", path, None).status for path in ("/", "/overview") * 400]
        self.assertEqual(found[:4], [200, 401, 200, 401])
        self.assertEqual(found[-1], 429)
        self.assertEqual(self.ask("GET", "/overview", "Bearer wrong").status, 429)
        self.assertEqual(self.ask("GET", "/overview").status, 200)
        found = [self.ask("GET", "/overview").status for _ in range(500)]
        self.assertEqual((found[0], found[-1]), (200, 429))

    def test_pages_of_other_sites_learn_nothing(self) -> None:
        """No answer allows another origin to read it or to frame it."""
        for method in ("GET", "OPTIONS"):
            response = self.ask(method, "/metrics", Origin="https://elsewhere.example")
            names = {name for name in response.headers if name.startswith("access-control-")}
            self.assertEqual(names, set())
            self.assertEqual(response.headers["x-frame-options"], "DENY")
            self.assertEqual(response.headers["cross-origin-resource-policy"], "same-origin")


class ReplacedTokenTests(OperatorCase):
    """A token that is replaced while the server runs."""

    NEW = "another-token-of-operators-0123456789-abc"

    def setUp(self) -> None:
        """Find its file."""
        super().setUp()
        self.path = self.server.rendezvous.settings.admin_token_path

    def status(self, token: str) -> int:
        """:returns: the status of an answer to who shows this token."""
        return self.ask("GET", "/overview", authorization=f"Bearer {token}").status

    def reload(self, token: str = TOKEN) -> Any:
        """:returns: what a reload answers."""
        return self.ask("POST", "/reload", authorization=f"Bearer {token}").json()

    def test_reload_reads_it_again(self) -> None:
        """The old one opens nothing any more; a reload without a change says so."""
        self.assertEqual(self.reload()["changed"], [])
        with open(self.path, "w", encoding="ascii") as file:
            file.write(self.NEW)
        self.assertEqual((self.status(TOKEN), self.status(self.NEW)), (200, 401))
        self.assertEqual(self.reload()["changed"], ["the operators' token"])
        self.assertEqual((self.status(TOKEN), self.status(self.NEW)), (401, 200))

    def test_streams_of_the_old_one_end(self) -> None:
        """All of them, and a stream of the new one begins."""

        def ended(stream: Connection) -> bool:
            return bool(stream.transport.value().endswith(b"\r\n0\r\n\r\n"))

        streams = [self.open("GET", "/updates") for _ in range(3)]
        self.assertEqual([ended(stream) for stream in streams], [False] * 3)
        with open(self.path, "w", encoding="ascii") as file:
            file.write(self.NEW)
        self.reload()
        self.server.reactor.advance(1)
        self.assertEqual([ended(stream) for stream in streams], [True] * 3)
        self.assertFalse(ended(self.open("GET", "/updates", authorization=f"Bearer {self.NEW}")))

    def test_file_that_is_gone_is_made_again(self) -> None:
        """With another token, as on the first start."""
        os.unlink(self.path)
        self.assertEqual(self.reload()["changed"], ["the operators' token"])
        with open(self.path, encoding="ascii") as file:
            made = file.read().strip()
        self.assertEqual((self.status(TOKEN), self.status(made)), (401, 200))
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_file_that_cannot_be_used(self) -> None:
        """Nothing is reloaded, and the old token is still good."""
        with open(self.path, "w", encoding="ascii") as file:
            file.write("short")
        answer = self.reload()
        self.assertEqual(answer["code"], "not-reloaded")
        self.assertIn("must hold one word of 32 to 256", answer["error"])
        self.assertEqual(self.status(TOKEN), 200)

    def test_server_that_has_changed_its_directory(self) -> None:
        """It finds the file where it was at the start."""
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        other = self.mktemp()
        os.mkdir(other)
        os.chdir(other)
        self.assertEqual(self.reload()["changed"], [])
        self.assertEqual(os.listdir("."), [])

    def test_what_was_begun_with_it_ends(self) -> None:
        """A stream of updates, at once."""
        stream = self.open("GET", "/updates")
        self.server.reactor.advance(2)
        self.assertIn(b"event: overview", stream.transport.value())
        os.unlink(self.path)
        self.reload()
        for _ in range(3):
            self.server.reactor.advance(0)
        self.assertTrue(stream.transport.value().endswith(b"0\r\n\r\n"))
        size = len(stream.transport.value())
        self.server.reactor.advance(20)
        self.assertEqual(len(stream.transport.value()), size)


class TokenFileTests(SynchronousTestCase):
    """The file of the token."""

    def load(self, path: str, **parts: Any) -> object:
        """Load it with bytes that are not random."""
        return load_token(path, lambda size: bytes(range(size)))

    def test_it_is_made_on_first_start(self) -> None:
        """For its owner alone, and the next start finds it."""
        path = self.mktemp()
        self.load(path)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        with open(path, encoding="ascii") as file:
            text = file.read()
        self.assertEqual(len(text.strip()), 43)
        load_token(path, lambda size: bytes(size)).check(f"Bearer {text.strip()}")

    def test_file_that_cannot_be_used(self) -> None:
        """One plain line says what to do."""
        for text, mode, expected in (
            ("short", 0o600, "must hold one word of 32 to 256 letters"),
            ("x" * 300, 0o600, "must hold one word"),
            (TOKEN + " " + TOKEN, 0o600, "must hold one word"),
            (TOKEN, 0o644, "can be read by others: run chmod 600"),
        ):
            path = self.mktemp()
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            os.chmod(path, mode)
            self.assertIn(expected, str(self.assertRaises(StartupError, self.load, path)))
        error = self.assertRaises(StartupError, self.load, os.path.join(self.mktemp(), "missing", "token"))
        self.assertIn("No such file or directory", str(error))

    def test_pipe_is_not_waited_for(self) -> None:
        """A reload reads the file again, and must not stop the server until somebody writes to a pipe."""
        path = self.mktemp()
        os.mkfifo(path, 0o600)
        self.assertIn("not a regular file", str(self.assertRaises(StartupError, self.load, path)))

    def test_default_place_is_beside_the_store(self) -> None:
        """As that of the secret."""
        self.assertEqual(
            Settings(store="sqlite:/var/lib/r/r.sqlite3").admin_token_path, "/var/lib/r/rendezvous.admin-token"
        )
