"""``rendezvous`` as a process, beside a real server."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.real_server import environment, real_server

COMMAND = [sys.executable, "-m", "rendezvous.commands.rendezvous"]


class ProcessTests(SynchronousTestCase):
    """What a shell sees."""

    def setUp(self) -> None:
        """Begin with an empty configuration folder."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.environ = environment() | {"XDG_CONFIG_HOME": str(self.directory)}

    def ran(self, *words: str) -> tuple[int, str, str]:
        """:returns: the exit status of a process that ended by itself, and what it printed."""
        ended = subprocess.run([*COMMAND, *words], env=self.environ, capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout, ended.stderr

    def test_id_and_status(self) -> None:
        """The id is the same in the next process, and is that of a registered peer."""
        with real_server() as server:
            self.environ["RENDEZVOUS_SERVER"] = server.url
            status, first, err = self.ran("id")
            self.assertEqual((status, err, len(first)), (0, "", 33))
            self.assertEqual(self.ran("id"), (0, first, ""))
            self.assertEqual(
                json.loads(self.ran("status", "--json", first.strip())[1]),
                {"id": first.strip(), "status": "PENDING", "last_online": None},
            )
        [file] = self.directory.glob("rendezvous/*.json")
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)

    def test_no_server(self) -> None:
        """One line, and status 1; one object with ``--json``."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            status, out, err = self.ran("id", "--server", url)
            self.assertEqual((status, out, err.count("\n")), (1, "", 1), err)
            status, out, err = self.ran("id", "--server", url, "--json")
        self.assertEqual((status, err), (1, ""))
        self.assertEqual(json.loads(out)["code"], "server-unreachable")

    def test_mistake(self) -> None:
        """One line, and status 2."""
        status, out, err = self.ran("id", "--server", "x")
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))

    def test_missing_extra(self) -> None:
        """One line says what to install."""
        for module in ("treq", "ifaddr"):
            blocked = f"import sys; sys.modules[{module!r}] = None"
            program = f"{blocked}; from rendezvous.commands.rendezvous.main import run; run()"
            ended = subprocess.run(
                [sys.executable, "-c", program], env=self.environ, capture_output=True, text=True, timeout=60
            )
            self.assertEqual((ended.returncode, ended.stdout), (1, ""))
            self.assertEqual(
                ended.stderr, "rendezvous: the extra 'client' is missing: pip install 'twisted-rendezvous[client]'\n"
            )

    def test_interrupt(self) -> None:
        """Ctrl-C ends a command that waits for the server."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            silent.settimeout(30)
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            process = subprocess.Popen(
                [*COMMAND, "id", "--server", url], env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            self.addCleanup(process.kill)
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            connection.close()
        self.assertEqual((process.returncode, out, err), (1, b"", b"rendezvous: interrupted\n"))

    def test_closed_pipe(self) -> None:
        """A reader that has gone is no reason for a traceback."""
        with real_server() as server:
            reading, writing = os.pipe()
            os.close(reading)
            ended = subprocess.run(
                [*COMMAND, "id", "--server", server.url],
                env=self.environ,
                stdout=writing,
                stderr=subprocess.PIPE,
                timeout=60,
            )
            os.close(writing)
        self.assertEqual((ended.returncode, ended.stderr), (1, b""))

    def test_full_disk(self) -> None:
        """One line says that stdout cannot be written, with ``--json`` and after a failure, too."""
        with real_server() as server, open("/dev/full", "w", encoding="ascii") as full:
            for words in (["id"], ["id", "--json"], ["status", "--json", "0" * 32]):
                ended = subprocess.run(
                    [*COMMAND, *words, "--server", server.url],
                    env=self.environ,
                    stdout=full,
                    stderr=subprocess.PIPE,
                    timeout=60,
                )
                self.assertEqual(
                    (ended.returncode, ended.stderr),
                    (1, b"rendezvous: cannot write to stdout: No space left on device\n"),
                )

    def test_closed_standard_files(self) -> None:
        """A standard file that is closed is an empty one: no socket and no file gets its number."""
        with real_server() as server:
            self.environ["RENDEZVOUS_SERVER"] = server.url
            for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
                command = ["sh", "-c", f'"$@" {closed}', "sh", *COMMAND, "id"]
                ended = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60)
                self.assertEqual((ended.returncode, ended.stderr), (0, ""), closed)
                self.assertEqual(len(ended.stdout), 0 if ">&-" in closed.split() else 33)
            [file] = self.directory.glob("rendezvous/*.json")
            self.assertEqual(json.loads(file.read_text("ascii"))["server"], server.url)

    def test_interrupt_while_it_starts(self) -> None:
        """Ctrl-C while libraries are imported is one line, too."""
        program = (
            "import os, signal, sys\n"
            "class Interrupt:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'treq':\n"
            "            os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.meta_path.insert(0, Interrupt())\n"
            "from rendezvous.commands.rendezvous.main import run\n"
            "run()\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program, "id"], env=self.environ, capture_output=True, text=True, timeout=60
        )
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (1, "", "rendezvous: interrupted\n"))

    def test_bug(self) -> None:
        """A bug is one line, and ``--verbose`` adds the traceback."""
        program = (
            "import sys\n"
            "from rendezvous.commands.rendezvous import main, program\n"
            "async def fail(context):\n"
            "    raise ZeroDivisionError('a bug')\n"
            "program.COMMANDS['id'] = fail\n"
            "main.run()\n"
        )
        self.environ["RENDEZVOUS_SERVER"] = "http://127.0.0.1:1"
        line = "rendezvous: internal error, ZeroDivisionError: a bug; --verbose shows where\n"
        for words, begins in ((["id"], line), (["id", "--verbose"], "20")):
            ended = subprocess.run(
                [sys.executable, "-c", program, *words], env=self.environ, capture_output=True, text=True, timeout=60
            )
            self.assertEqual((ended.returncode, ended.stdout), (1, ""))
            self.assertTrue(ended.stderr.startswith(begins), ended.stderr)
            self.assertIn(line, ended.stderr)
            self.assertEqual("Traceback" in ended.stderr, "--verbose" in words)
