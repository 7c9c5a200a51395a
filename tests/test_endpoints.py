"""What an operator reads when an HTTP endpoint cannot be used."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.listening import admin_places, http_places
from rendezvous.service import Rendezvous
from rendezvous.settings import Settings, read_settings
from rendezvous.testing import MemoryReactor
from tests.certificates import pem


class EndpointErrorTests(SynchronousTestCase):
    """Tests of the errors for endpoints, none of which shows what Python or OpenSSL raised inside Twisted."""

    def setUp(self) -> None:
        """Make a server without ports."""
        self.reactor = MemoryReactor()
        self.rendezvous = Rendezvous(Settings(store="memory:"), self.reactor, environ={"RENDEZVOUS_SECRET": "ab" * 32})
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)

    def reason(self, description: str) -> str:
        """:returns: why an endpoint is refused."""
        places = http_places(Settings(http=description), self.reactor, self.rendezvous.site())
        message = str(self.assertRaises(StartupError, list, places))
        prefix = f"http {description!r} is not a usable endpoint: "
        self.assertEqual(message[: len(prefix)], prefix)
        self.assertEqual(message.splitlines(), [message])
        return message[len(prefix) :]

    def file(self, name: str, text: bytes) -> str:
        """:returns: the path of a new file."""
        path = self.directory / name
        path.write_bytes(text)
        return str(path)

    def test_port_must_be_a_number_up_to_65535(self) -> None:
        """The error shows what was given as the port, by its place or by its name."""
        for start in ("tcp:", "TCP:", "tcp6:", "ssl:", "tcp:port=", "tcp:interface=127.0.0.1:port="):
            for port in ("x", "", "-1", "65536", "99999999999", "80 "):
                self.assertEqual(
                    self.reason(start + port), f"the port must be a number from 0 to 65535, not {port!r}", start
                )
        self.assertEqual(self.reason("tcp:x:interface=::1")[:8], "the port")

    def test_ports_at_the_bounds_are_taken(self) -> None:
        """0 and 65535 are ports, and colons behind them belong to other arguments."""
        for description in ("tcp:0", "tcp:65535", r"tcp:80:interface=\:\:1", "tcp:port=80", "tcp:80:backlog=5"):
            places = http_places(Settings(http=description), self.reactor, self.rendezvous.site())
            self.assertEqual([place.what for place in places], ["HTTP"])

    def test_wrong_arguments_are_explained_by_examples(self) -> None:
        """Python's own errors name functions inside Twisted and say nothing to an operator."""
        for description in ("tcp", "tcp:80:what=1", "tcp:1:2:3:4:5", "tcp:80:backlog=x", "unix:/run/a:mode=9"):
            self.assertEqual(
                self.reason(description),
                "an argument is missing, unknown or wrong; tcp:8080 and ssl:443:privateKey=key.pem:certKey=cert.pem are"
                " examples",
            )

    def test_error_names_the_place_where_the_endpoint_was_written(self) -> None:
        """The option, the variable of the environment, or the configuration file; in code it is the setting."""
        file = self.file("server.toml", b"http = 'tcp:x'")
        for settings, place in (
            (read_settings({"http": ["tcp:1", "tcp:x"]}, {}), "--http"),
            (read_settings({}, {"RENDEZVOUS_HTTP": "tcp:x tcp:1"}), "RENDEZVOUS_HTTP"),
            (read_settings({"config": file}, {}), f"{file}: http"),
            (Settings(http=("tcp:x",)), "http"),
        ):
            places = http_places(settings, self.reactor, self.rendezvous.site())
            message = str(self.assertRaises(StartupError, list, places))
            self.assertTrue(message.startswith(f"{place} 'tcp:x' is not a usable endpoint: "), message)

    def test_error_of_the_operators_port_names_its_place(self) -> None:
        """It is not that of the HTTP ports."""
        file = self.file("server.toml", b"admin = 'tcp:x'")
        for settings, place in (
            (read_settings({"admin": ["tcp:x"]}, {}), "--admin"),
            (read_settings({}, {"RENDEZVOUS_ADMIN": "tcp:x"}), "RENDEZVOUS_ADMIN"),
            (read_settings({"config": file}, {}), f"{file}: admin"),
        ):
            places = admin_places(settings, self.reactor, self.rendezvous.site())
            message = str(self.assertRaises(StartupError, list, places))
            self.assertTrue(message.startswith(f"{place} 'tcp:x' is not a usable endpoint: "), message)

    def test_operators_port_in_the_clear(self) -> None:
        """An endpoint of plain TCP shows the token on its way; of UNIX sockets and of TLS nothing is said."""
        wanted = (
            ("tcp:1", True), ("TCP6:1", True), ("haproxy:tcp:1", True), ("unix:/run/a", False),
            (f"ssl:1:privateKey={self.file('a.pem', b''.join(pem()))}", False),
        )  # fmt: skip
        for description, expected in wanted:
            [place] = admin_places(Settings(admin=description), self.reactor, self.rendezvous.site())
            self.assertEqual(place.is_exposed, expected, description)

    def test_error_of_a_port_in_use_names_the_place_too(self) -> None:
        """With the endpoint."""
        file = self.file("server.toml", b"http = 'tcp:8080'")
        [place] = http_places(read_settings({"config": file}, {}), self.reactor, self.rendezvous.site())
        self.assertEqual(place.options, f"{file}: http tcp:8080")

    def test_unknown_kind_is_named(self) -> None:
        """For example a kind that needs a plugin which is not installed."""
        self.assertIn("'nonsense'", self.reason("nonsense:0"))

    def test_missing_file_is_named(self) -> None:
        """With the system's reason."""
        self.assertEqual(self.reason("ssl:443:privateKey=/nope/key.pem"), "/nope/key.pem: No such file or directory")

    def test_damaged_certificate_or_key_is_explained(self) -> None:
        """The error says what the files must be, and ends with OpenSSL's reason in words."""
        certificate, key = pem()
        good, other = self.file("cert.pem", certificate), self.file("key.pem", key)
        junk = self.file("junk.pem", b"junk")
        for description in (f"ssl:443:privateKey={other}:certKey={junk}", f"ssl:443:privateKey={junk}:certKey={good}"):
            self.assertRegex(
                self.reason(description),
                r"\Aone of its files is not a certificate or private key in PEM format, or is damaged \([a-z ,]+\)\Z",
            )

    def test_key_of_another_certificate_is_refused(self) -> None:
        """It is found before the port opens."""
        paths = self.file("cert.pem", pem()[0]), self.file("key.pem", pem()[1])
        self.assertIn("do not match", self.reason(f"ssl:443:privateKey={paths[1]}:certKey={paths[0]}"))
