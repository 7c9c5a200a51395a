"""Who may begin something new: a server that is draining, and one with registration tokens."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.registrationtokens import RegistrationTokens
from rendezvous.errors import StartupError
from rendezvous.registrationtokens import load_registration_tokens
from rendezvous.settings import Settings
from rendezvous.testing import MemoryServer, Response
from tests._socket_case import SocketTestCase
from tests._web_case import ORIGIN

TOKEN, OTHER = "team-north-3b9d51ea70c2", "team-south-90aa1c44e1f7"
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
SESSION = {"info": "Alice", "offer": "v=0"}


class DrainTests(SocketTestCase):
    """A server that takes no new clients."""

    def setUp(self) -> None:
        """Drain it, with two clients."""
        super().setUp()
        self.admission = self.server.rendezvous.web.gate.admission

    def assertDraining(self, response: Response) -> None:
        """It is refused for now."""
        self.assertRefused(response, 503, "draining")
        self.assertEqual(response.headers["retry-after"], "30")

    def test_new_clients_are_refused(self) -> None:
        """Registrations, sessions, sockets without a client, first offers; load balancers learn it."""
        self.admission.is_draining = True
        self.assertDraining(self.ask("POST", "/register"))
        self.assertDraining(self.ask("POST", "/chess/offer", SESSION, ORIGIN))
        self.assertDraining(self.ask("GET", "/signal", None, HANDSHAKE))
        self.assertDraining(self.ask("GET", "/peerjs?key=peerjs&id=a&token=b", None, HANDSHAKE))
        self.assertDraining(self.ask("POST", "/offers", {"offers": [{"sdp": "v=0", "topics": ["x"]}]}, self.alice))
        self.assertDraining(self.ask("GET", "/ready"))
        self.assertEqual(self.ask("GET", "/health").status, 200)

    def test_clients_that_are_there_go_on(self) -> None:
        """With offers, answers, sockets and streams of their own."""
        offer = self.publish()
        self.admission.is_draining = True
        self.publish(sdp="v=0 again")
        self.answer(offer)
        self.assertEqual(self.ask("POST", "/verify", None, self.alice).status, 200)
        connection = self.start("GET", "/events", None, self.alice)
        self.advance(1)
        self.assertIn(b"200 OK", connection.transport.value())

    def test_it_can_be_taken_back(self) -> None:
        """All is as before then."""
        self.admission.is_draining = True
        self.admission.is_draining = False
        self.assertEqual(self.ask("POST", "/register").status, 200)
        self.assertEqual(self.ask("GET", "/ready").status, 200)


class TokenTests(SocketTestCase):
    """A server that lets in who has a registration token."""

    def setUp(self) -> None:
        """Start it, with two clients that came before there were tokens."""
        super().setUp()
        self.server.rendezvous.web.gate.admission.tokens = RegistrationTokens([TOKEN, OTHER])

    def test_registration(self) -> None:
        """Either token will do, in the header or in the query, and nothing else."""
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {TOKEN}"}, self.alice):
            response = self.ask("POST", "/register", None, headers)
            self.assertRefused(response, 401, "registration-token")
            self.assertEqual(response.headers["www-authenticate"], "Bearer")
        for path, said in (
            ("/register", "lets in only those who have"),
            (f"/register?registration={TOKEN}x", "not good"),
        ):
            self.assertIn(said, self.refused(401, "registration-token", "POST", path))
        for token in (TOKEN, OTHER):
            self.good("POST", "/register", None, {"Authorization": f"Bearer {token}"})
            self.good("POST", f"/register?registration={token}")

    def test_sessions(self) -> None:
        """To open one; who answers has the code."""
        self.refused(401, "registration-token", "POST", "/chess/offer", SESSION, ORIGIN)
        with_token = {**ORIGIN, "Authorization": f"Bearer {TOKEN}"}
        code = self.good("POST", "/chess/offer", SESSION, with_token)["code"]
        self.good("POST", "/answer", {"code": code, "side": "answerer", "answer": "v=0"}, ORIGIN)

    def test_sockets(self) -> None:
        """The token is in the query, and PeerJS has it as its key."""
        for target in ("/signal", "/peerjs?key=peerjs&id=a&token=b", "/signal?registration=x"):
            self.assertRefused(self.ask("GET", target, None, HANDSHAKE), 401, "registration-token")
        for target in (
            f"/signal?registration={TOKEN}",
            f"/peerjs?key={TOKEN}&id=a&token=b",
            f"/peerjs?key=peerjs&id=b&token=b&registration={OTHER}",
        ):
            socket = self.socket(target)
            self.assertIn(b"101 Switching Protocols", socket.connection.transport.value())
            socket.read()
            self.assertIsNone(socket.close_code)

    def test_clients_that_are_there_need_none(self) -> None:
        """Their credential is enough."""
        self.publish()
        self.assertEqual(self.ask("GET", "/offers/mine", None, self.alice).status, 200)


class FileTests(SynchronousTestCase):
    """The file of tokens."""

    def write(self, text: str, mode: int = 0o600) -> str:
        """:returns: a file."""
        path: str = self.mktemp()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, mode), "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_tokens_are_lines(self) -> None:
        """With comments and empty lines between them."""
        tokens = load_registration_tokens(self.write(f"# north\n{TOKEN}\n\n  {OTHER}  \n"))
        assert tokens is not None
        self.assertIn(TOKEN, tokens)
        self.assertIn(OTHER, tokens)
        # A half of a character cannot be hashed.
        for text in ("", "# north", f" {TOKEN}", TOKEN[:-1], f"{TOKEN}\ud800", None):
            self.assertNotIn(text, tokens)

    def test_without_a_file_everybody_may(self) -> None:
        """There is nothing to ask for."""
        self.assertIsNone(load_registration_tokens(""))

    def test_file_that_cannot_be_used(self) -> None:
        """One plain line, which does not show a token."""
        for text, mode, expected in (
            ("", 0o600, "holds no token"),
            ("# none\n", 0o600, "holds no token"),
            (f"{TOKEN}\nshort\n", 0o600, "line 2 is none"),
            (f"{TOKEN} {OTHER}\n", 0o600, "line 1 is none"),
            ("x" * 257, 0o600, "line 1 is none"),
            ("é" * 20, 0o600, "line 1 is none"),
            (TOKEN, 0o640, "can be read by others: run chmod 600"),
            ("\n" * (1024 * 1024 + 1), 0o600, "is longer than 1048576 characters"),
        ):
            error = str(self.assertRaises(StartupError, load_registration_tokens, self.write(text, mode)))
            self.assertIn(expected, error)
            self.assertNotIn(TOKEN, error)
        for path, expected in (("/nowhere/at/all", "No such file"), ("/dev/null", "not a regular file")):
            self.assertIn(expected, str(self.assertRaises(StartupError, load_registration_tokens, path)))

    def test_reload_reads_it_again(self) -> None:
        """Also if its name has stayed the same; with a file that cannot be used nothing changes."""
        path = self.write(TOKEN)
        server = MemoryServer(registration_token_file=path)
        self.addCleanup(server.stop)

        def status(token: str) -> int:
            response: Response = server.request("POST", "/register", None, {"Authorization": f"Bearer {token}"})
            return response.status

        self.assertEqual((status(TOKEN), status(OTHER)), (200, 401))
        with open(path, "w", encoding="ascii") as file:
            file.write(OTHER)
        server.rendezvous.reload(server.rendezvous.settings)
        self.assertEqual((status(TOKEN), status(OTHER)), (401, 200))
        with open(path, "w", encoding="ascii") as file:
            file.write("short")
        self.assertRaises(StartupError, server.rendezvous.reload, server.rendezvous.settings)
        self.assertEqual((status(TOKEN), status(OTHER)), (401, 200))
        settings = Settings(store="memory:", no_source_limits=True, interface="0.0.0.0")
        server.rendezvous.reload(settings)
        self.assertEqual(status("any"), 200)

    def test_server_does_not_start_with_a_file_that_cannot_be_used(self) -> None:
        """Otherwise everybody could come in."""
        self.assertRaises(StartupError, MemoryServer, registration_token_file="/nowhere/at/all")
