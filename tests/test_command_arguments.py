"""The command line of ``rendezvous``."""

from __future__ import annotations

import configparser
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rendezvous import __version__
from rendezvous.commands.rendezvous.arguments import parse
from rendezvous.commands.rendezvous.program import COMMANDS
from tests._command_case import URL, usage

PEER = "0123456789abcdef" * 2


class CommandLineTests(SynchronousTestCase):
    """What is right and what is wrong."""

    def refusal(self, *words: str, **environ: str) -> str:
        """:returns: the one line about a mistake."""
        status, out, err = usage(*words, **environ)
        self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)
        self.assertTrue(err.startswith("rendezvous"), err)
        self.assertIn("--help)", err)
        return err

    def test_mistakes_are_one_line(self) -> None:
        """Each ends the process with status 2."""
        for words in (
            [],
            ["x"],
            ["id", "x"],
            ["status"],
            ["status", PEER[1:]],
            ["status", PEER, PEER],
            ["id", "--x"],
            ["listen", PEER],
            ["listen", "--allow", "x"],
            ["listen", "--relay", "perhaps"],
            ["listen", "--upnp", "--no-port-mapping"],
            ["connect"],
            ["serve"],
            ["serve", "0"],
            ["serve", "65536"],
            ["serve", "x"],
            ["serve", "53", "--host", "localhost"],
            ["forward", PEER],
            ["forward", PEER, "53"],
            ["forward", PEER, "53:"],
            ["forward", PEER, "53:0"],
            ["forward", PEER, "65536:53"],
            ["forward", PEER, "-1:53"],
            ["forward", "53:53"],
            ["forward", PEER, "53:53", "53:54"],
        ):
            self.refusal(*words, RENDEZVOUS_SERVER=URL)

    def test_line_names_the_help_that_lists_the_options(self) -> None:
        """Which is that of the subcommand."""
        self.assertEqual(
            self.refusal("id", "--upnp", RENDEZVOUS_SERVER=URL),
            "rendezvous id: unrecognized arguments: --upnp (see rendezvous id --help)\n",
        )
        self.assertTrue(self.refusal("x", RENDEZVOUS_SERVER=URL).endswith("(see rendezvous --help)\n"))

    def test_local_ports_of_the_systems_choice(self) -> None:
        """There may be several."""
        self.assertEqual(parse(["forward", PEER, "0:53", "0:54"], {"RENDEZVOUS_SERVER": URL}).ports, [(0, 53), (0, 54)])

    def test_server_is_needed(self) -> None:
        """The line says both ways to name it."""
        self.assertIn("--server URL or RENDEZVOUS_SERVER", self.refusal("id"))
        self.assertIn("--server URL or RENDEZVOUS_SERVER", self.refusal("id", RENDEZVOUS_SERVER=""))

    def test_server_is_a_plain_url(self) -> None:
        """Anything else would be lost, or shown in an error, or is no URL."""
        for url in (
            "example.net",
            "ftp://example.net",
            "http://",
            "http://user:password@example.net",
            "http://example.net/?x",
            "http://example.net/#x",
            "http://example.net:0",
            "http://example.net:65536",
            "http://[::1",
            "http://exa mple.net",
            "http://exämple.net",
            "http://example.net/\n",
        ):
            self.assertIn("plain http or https URL", self.refusal("id", "--server", url))
            self.assertIn("RENDEZVOUS_SERVER", self.refusal("id", RENDEZVOUS_SERVER=url))

    def test_option_comes_before_the_environment(self) -> None:
        """The environment is not even looked at."""
        self.assertEqual(parse(["id", "--server", URL], {"RENDEZVOUS_SERVER": "nonsense"}).server, URL)

    def test_spellings_of_one_server_are_one(self) -> None:
        """So each of them finds the same identity."""
        for url, expected in {
            "HTTP://Example.NET/": "http://example.net",
            "http://example.net:80": "http://example.net",
            "https://example.net:443/": "https://example.net",
            "https://example.net:80/": "https://example.net:80",
            "http://example.net:5025/a/": "http://example.net:5025/a",
            "http://[2001:DB8::1]:5025": "http://[2001:db8::1]:5025",
        }.items():
            self.assertEqual(parse(["id"], {"RENDEZVOUS_SERVER": url}).server, expected)

    def test_help_and_version(self) -> None:
        """Each subcommand has its own help, and the program says that a path is not encrypted."""
        for words in ((), *((name,) for name in COMMANDS)):
            status, out, err = usage(*words, "--help")
            self.assertEqual((status, err), (0, ""))
            self.assertIn("usage: rendezvous", out)
        self.assertIn("NOT ENCRYPTED", usage("--help")[1])
        self.assertEqual(usage("--version"), (0, f"rendezvous {__version__}\n", ""))

    def test_installed_name(self) -> None:
        """An installation has the program."""
        declared = configparser.ConfigParser()
        declared.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
        scripts = declared["options.entry_points"]["console_scripts"].splitlines()
        self.assertIn("rendezvous = rendezvous.commands.rendezvous.main:run", scripts)
