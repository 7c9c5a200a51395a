"""
The examples of the README and of the tutorials are true: each is run as it stands, in a process of its own.

Only port numbers are replaced: in the clients' examples by those of the running server, in the servers' by 0, so that
the system gives a free one, which the log then shows.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests._rst import Block, code_blocks
from tests.real_server import TWISTD

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.rst"
FIRST_STEPS, UDP, TWISTED, OPERATOR = (
    DOCS / "tutorials" / f"{name}.rst" for name in ("first-steps", "udp", "twisted", "operator")
)
HTTPS, TWO_MACHINES = (DOCS / "howto" / f"{name}.rst" for name in ("page-over-https", "two-machines"))
PAGES = (README, FIRST_STEPS, UDP, TWISTED, OPERATOR, HTTPS, TWO_MACHINES)

#: Seconds that any process here may take, all in all.
PATIENCE = 30.0


PORT = re.compile(r"\b(?:5024|5025|5026|5443|8080|8081)\b")

#: Every block of the pages in order, by section and language. A new one belongs here, and in a test or in
#: :data:`NOT_RUN`.
BLOCKS = [
    ("Rendezvous", "text"),
    ("Start it", "shell"),
    ("See it work", "bash"),
    ("See it work", "bash"),
    ("First steps", "shell"),
    ("In bash", "bash"),
    ("In Python", "python"),
    ("A program over UDP", "shell"),
    ("A program over UDP", "shell"),
    ("Stay online", "python"),
    ("The whole server", "python"),
    ("A path of your own site", "python"),
    ("A path of your own site", "python"),
    ("Install", "shell"),
    ("Run it", "shell"),
    ("Let clients in", "text"),
    ("Use TLS", "shell"),
    ("Look after it", "shell"),
    ("Look after it", "shell"),
    ("Try pages from another machine", "shell"),
    ("Try it on one machine", "bash"),
    ("Try it on one machine", "bash"),
]

#: A line that a test runs without the one behind it.
MAKE_CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=rendezvous -keyout key.pem -out cert.pem\n"
)

#: Blocks that a test cannot run: they make environments, which ``.ci/run`` does, or serve on the default ports.
NOT_RUN = [
    "python3 -m pip install '.[client]'\ntwistd -n rendezvous\n",
    "make run\n",
    "python3 -m pip install '.[client]'\n",
    "twistd -n rendezvous\n",
    "python3 -m venv rendezvous-env\nrendezvous-env/bin/python -m pip install '.[fast]'\n",
    "rendezvous-env/bin/twistd -n rendezvous\n",
    "rendezvous-env/bin/twistd -n rendezvous --http ssl:443:privateKey=key.pem:certKey=cert.pem\n",
    "rendezvous-env/bin/twistd -n rendezvous --admin tcp:5027:interface=127.0.0.1\n",
    "rendezvous-env/bin/rendezvous-admin top --once\n",
    MAKE_CERTIFICATE + "make run OPTIONS='--http ssl:5443:privateKey=key.pem:certKey=cert.pem'\n",
]


def blocks_of(page: Path) -> list[Block]:
    """:returns: all blocks of a page."""
    return code_blocks(page.read_text(encoding="utf-8"))


def example(page: Path, section: str, language: str, number: int = 0) -> str:
    """:returns: the text of one block."""
    found = [block.text for block in blocks_of(page) if (block.section, block.language) == (section, language)]
    return found[number]


def with_ports(text: str, ports: dict[str, str]) -> str:
    """:returns: an example with other ports, of which it must name at least one."""
    replaced, count = PORT.subn(lambda match: ports.get(match[0], "0"), text)
    assert count > 0, text
    return replaced


def environment() -> dict[str, str]:
    """:returns: the environment of a newcomer who has installed this checkout."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RENDEZVOUS_")}
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**ours, "PYTHONPATH": os.pathsep.join(path), "no_proxy": "*"}


class Running:
    """A process that was started, and what it says, line by line."""

    def __init__(self, arguments: list[str], directory: str) -> None:
        self._process = subprocess.Popen(
            arguments,
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._said = ""
        # Reading blocks; the end of the process ends it.
        self._watchdog = threading.Timer(PATIENCE, self._process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def expect(self, pattern: str) -> str:
        """
        Wait for a line.

        :param pattern: to be found in the line, with one group.
        :returns: what the group matched.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said += line
            match = re.search(pattern, line)
            if match:
                return match[1]
        raise AssertionError(f"the process ended without saying {pattern!r}, but:\n{self._said}")

    def stop(self) -> None:
        """End the process as a service manager does."""
        self._watchdog.cancel()
        self._process.terminate()
        try:
            self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


class ReadmeCase(SynchronousTestCase):
    """Starts processes in a directory of the test's own, and ends them with it."""

    def setUp(self) -> None:
        """Make the directory."""
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def start(self, arguments: list[str]) -> Running:
        """Start a process that runs until the test has ended."""
        process = Running(arguments, self.directory)
        self.addCleanup(process.stop)
        return process

    def start_server(self) -> dict[str, str]:
        """:returns: what to write for each of the default ports."""
        ports = ["--http-port", "0", "--udp-port", "0", "--interface", "127.0.0.1"]
        server = self.start([*TWISTD, "rendezvous", *ports])
        return {"5025": server.expect(r"HTTP on 127\.0\.0\.1:(\d+)"), "5024": server.expect(r"UDP on .*:(\d+)")}

    def run_pasted(self, interpreter: list[str], text: str) -> subprocess.CompletedProcess[str]:
        """Give a program to an interpreter as if it were typed."""
        return subprocess.run(
            interpreter,
            cwd=self.directory,
            env=environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def run_bash(self, text: str) -> list[str]:
        """:returns: the lines that an example for bash writes, beside a server that has just been started."""
        for program in ("bash", "curl"):
            if shutil.which(program) is None:
                if os.environ.get("CI") == "true":
                    self.fail(f"CI must have {program}")
                raise SkipTest(f"{program} is not installed here")
        ran = self.run_pasted(["bash", "-e", "-u", "-o", "pipefail"], with_ports(text, self.start_server()))
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return ran.stdout.splitlines()

    def save(self, name: str, text: str) -> str:
        """:returns: the name of a file in the directory that now holds the text."""
        (Path(self.directory) / name).write_text(text, encoding="utf-8")
        return name


class BlockTests(SynchronousTestCase):
    """No example escapes."""

    def test_every_block_is_known(self) -> None:
        """The pages have the blocks that are run below, and those that cannot be."""
        blocks = [block for page in PAGES for block in blocks_of(page)]
        self.assertEqual([(block.section, block.language) for block in blocks], BLOCKS)
        self.assertEqual([block.text for block in blocks if block.language == "shell"], NOT_RUN)

    def test_nothing_else_looks_like_code(self) -> None:
        """Code stands in blocks that say their language."""
        for page in PAGES:
            self.assertNotRegex(page.read_text(encoding="utf-8"), r"::\n\n")

    def test_readme_is_short(self) -> None:
        """It says what the server is and where to go on; everything else is in the documentation."""
        text = README.read_text(encoding="utf-8")
        self.assertLess(len(text.splitlines()), 150)
        named = re.findall(r"``((?:docs/)?[\w/-]+\.rst)``", text)
        self.assertGreater(len(named), 8)
        for page in named:
            self.assertTrue((ROOT / page).is_file(), page)

    def test_examples_without_a_port_are_refused(self) -> None:
        """An example that has lost its ports would run against whatever is on the default ones."""
        self.assertRaises(AssertionError, with_ports, Block("", "", "make run\n").text, {})


class QuickStartTests(ReadmeCase):
    """Two clients find each other, by hand."""

    def test_curl(self) -> None:
        """The lines for bash show a pulse on time, the address, the status, and the end."""
        pulse, *answers = self.run_bash(example(FIRST_STEPS, "In bash", "bash"))
        self.assertEqual(pulse.split(), ["00", "00", "03", "fc"])
        address, status, verified, ended, missing = map(json.loads, answers)
        self.check(address, status, verified, ended)
        self.assertEqual((missing["ok"], missing["code"]), (False, "not-found"))

    def test_python(self) -> None:
        """The lines for Python, pasted at its prompt, show the same."""
        ports = self.start_server()
        ran = self.run_pasted(
            [sys.executable, "-i", "-q"], with_ports(example(FIRST_STEPS, "In Python", "python"), ports)
        )
        self.assertEqual(re.sub(r">>> |\.\.\. ", "", ran.stderr).strip(), "")
        sent, pulse, *answers = ran.stdout.splitlines()
        self.assertEqual((sent, pulse), ("32", "1020"))
        address, status, verified, ended = map(ast.literal_eval, answers)
        self.check(address, status, verified, ended)

    def check(self, address: Any, status: Any, verified: Any, ended: Any) -> None:
        """Check the answers that both give."""
        self.assertEqual(address["host"], "127.0.0.1")
        self.assertGreater(address["port"], 0)
        self.assertEqual(status["status"], "ONLINE")
        self.assertEqual({answer["client_id"] for answer in (address, status, verified, ended)}, {ended["client_id"]})
        self.assertEqual([answer["ok"] for answer in (address, status, verified, ended)], [True] * 4)


class DemoTests(ReadmeCase):
    """The page that a newcomer opens first."""

    def test_page(self) -> None:
        """It is at the address that the README and the first tutorial give."""
        found = {re.findall(r"^Open (\S+/demo) in a browser", each.read_text(), re.MULTILINE)[0] for each in PAGES[:2]}
        [page] = found
        with urlopen(with_ports(page, self.start_server()), timeout=PATIENCE) as reply:
            self.assertIn(b"<title>Rendezvous demo</title>", reply.read())

    def test_page_over_tls(self) -> None:
        """The certificate that the line makes is one that the server takes."""
        if shutil.which("openssl") is None:
            if os.environ.get("CI") == "true":
                self.fail("CI must have openssl")
            raise SkipTest("openssl is not installed here")
        block = example(HTTPS, "Try pages from another machine", "shell")
        self.assertTrue(block.startswith(MAKE_CERTIFICATE))
        self.assertEqual(self.run_pasted(["bash", "-e"], MAKE_CERTIFICATE).returncode, 0)
        [options] = re.findall(r"OPTIONS='([^']+)'", block)
        server = self.start([*TWISTD, "rendezvous", *with_ports(options, {}).split(), "--udp-port", "0"])
        port = server.expect(r"HTTPS on .*:(\d+)")
        known = ssl.create_default_context(cafile=str(Path(self.directory, "cert.pem")))
        known.check_hostname = False  # A browser asks its user.
        with urlopen(f"https://127.0.0.1:{port}/demo", timeout=PATIENCE, context=known) as reply:
            self.assertIn(b"<title>Rendezvous demo</title>", reply.read())


class CommandTests(ReadmeCase):
    """Two terminals with the command."""

    def typed(self, text: str, ports: dict[str, str]) -> list[str]:
        """:returns: the words that run an example, with the command of this checkout."""
        command = Path(self.directory, "rendezvous").absolute()
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rendezvous.commands.rendezvous "$@"\n')
        command.chmod(0o755)
        # Bash gives its place to the command, so that the command gets the signals.
        shown = re.sub("^rendezvous", "exec rendezvous", with_ports(text, ports), flags=re.MULTILINE)
        return ["bash", "-c", f"PATH={command.parent}:$PATH\n{shown}"]

    def test_line_appears_in_the_other_terminal(self) -> None:
        """The end of the input ends the connection well."""
        ports = self.start_server()
        listen, connect = (example(README, "See it work", "bash", number) for number in range(2))
        same = [example(TWO_MACHINES, "Try it on one machine", "bash", number) for number in range(2)]
        self.assertEqual([listen, connect], same)
        listener = self.start(self.typed(listen, ports))
        name = listener.expect(r"Listening as ([0-9a-f]{32})$")
        text = connect.replace("CLIENT_ID", name)
        visitor = subprocess.run(
            self.typed(text, ports),
            cwd=self.directory,
            env=environment(),
            input="hello\n",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((visitor.returncode, visitor.stdout), (0, ""))
        self.assertIn(f"Connected to {name}", visitor.stderr)
        # One is written to standard output, the other to standard error: either may come first.
        said = {listener.expect("^(hello|The path to .* is closed)") for _ in range(2)}
        self.assertEqual({line.rpartition(" ")[2] for line in said}, {"hello", "closed"})


class ClientTests(ReadmeCase):
    """The script with the client library."""

    def test_one_finds_the_other(self) -> None:
        """One keeps its address alive, a second looks it up; a third asks in vain and says so."""
        ports = self.start_server()
        script = self.save("peer.py", with_ports(example(UDP, "Stay online", "python"), ports))
        first = self.start([sys.executable, script]).expect(r"I am ([0-9a-f]{32})$")
        second = self.start([sys.executable, script, first, "0" * 32])
        self.assertGreater(int(second.expect(rf"^{first} is at 127\.0\.0\.1 (\d+)$")), 0)
        second.expect("(no such peer)")


class ClientPageTests(ReadmeCase):
    """The example of ``docs/client.rst``."""

    def test_two_peers_talk(self) -> None:
        """The second finds the first, sends to it from the socket of its pulses, and is answered."""
        page = (ROOT / "docs" / "client.rst").read_text(encoding="utf-8")
        [block] = [block for block in code_blocks(page) if block.section == "Example"]
        script = self.save("talk.py", with_ports(block.text, self.start_server()))
        first = self.start([sys.executable, script])
        name = first.expect(r"I am ([0-9a-f]{32})$")
        second = self.start([sys.executable, script, name])
        second.expect(r"I am ([0-9a-f]{32})$")
        first.expect(r"received (hello) from 127\.0\.0\.1 \d+$")
        second.expect(r"received (hello to you) from 127\.0\.0\.1 \d+$")


class ProtocolPageTests(ReadmeCase):
    """The examples of ``docs/protocol/offers.rst`` and ``docs/protocol/sessions.rst``."""

    def answers(self, name: str) -> list[Any]:
        """:returns: the answers that the example of a page shows."""
        page = (ROOT / "docs" / "protocol" / f"{name}.rst").read_text(encoding="utf-8")
        [text] = [block.text for block in code_blocks(page) if block.language == "bash"]
        return list(map(json.loads, self.run_bash(text)))

    def test_offers(self) -> None:
        """The offer is found and answered; its owner reads the answer and the candidate."""
        listed, answered, added, answers, candidates = self.answers("offers")
        [offer] = listed["offers"]
        self.assertEqual(offer["sdp"], "v=0 from Alice")
        self.assertEqual((answered["offerId"], added["candidatesAdded"]), (offer["id"], 1))
        [answer] = answers["answers"]
        self.assertEqual((answer["offerId"], answer["sdp"]), (offer["id"], "v=0 from Bob"))
        [candidate] = candidates["candidates"]
        self.assertEqual((candidate["role"], candidate["peerId"]), ("answerer", answered["answererId"]))

    def test_sessions(self) -> None:
        """The session is found by its topic and answered; a poll shows the answer."""
        listed, answered, polled = self.answers("sessions")
        [session] = listed["sessions"]
        self.assertEqual((session["info"], session["offer"]), ("Alice", "v=0 from Alice"))
        self.assertTrue(answered["success"])
        self.assertEqual(polled["answer"], "v=0 from Bob")


class EmbeddingTests(ReadmeCase):
    """The server inside another application."""

    def start_application(self, text: str) -> Running:
        """Start a ``.tac`` file."""
        return self.start([*TWISTD, "-y", self.save("example.tac", with_ports(text, {}))])

    def register(self, base: str) -> Any:
        """:returns: the answer to a registration."""
        with urlopen(Request(f"{base}/register", method="POST"), timeout=PATIENCE) as reply:
            return json.load(reply)

    def pulse(self, client: Any, port: str) -> int:
        """:returns: the answer to a pulse."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(PATIENCE)
            udp.sendto(bytes.fromhex(client["private_id"]), ("127.0.0.1", int(port)))
            return int.from_bytes(udp.recv(64), "big", signed=True)

    def test_whole_server(self) -> None:
        """As a child service it serves on both its ports."""
        application = self.start_application(example(TWISTED, "The whole server", "python"))
        http, udp = application.expect(r"HTTP on .*:(\d+)$"), application.expect(r"UDP on \S+:(\d+)\b")
        self.assertEqual(self.pulse(self.register(f"http://127.0.0.1:{http}"), udp), 1020)

    def test_resource_and_datagrams(self) -> None:
        """Below a path of a site, and on a UDP port, it is the same server."""
        site, ports = (example(TWISTED, "A path of your own site", "python", number) for number in range(2))
        application = self.start_application(site + ports)
        http = application.expect(r"Site starting on (\d+)$")
        udp = application.expect(r"RendezvousDatagrams starting on (\d+)$")
        registered = self.register(f"http://127.0.0.1:{http}/rendezvous")
        self.assertEqual(registered["udpPorts"], [int(udp)])
        self.assertEqual(self.pulse(registered, udp), 1020)

    def test_resource_alone(self) -> None:
        """The second example is complete without the third."""
        application = self.start_application(example(TWISTED, "A path of your own site", "python"))
        http = application.expect(r"Site starting on (\d+)$")
        registered = self.register(f"http://127.0.0.1:{http}/rendezvous")
        self.assertEqual((registered["ok"], registered["udpPorts"]), (True, []))
