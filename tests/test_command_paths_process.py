"""Processes of ``rendezvous`` that connect to each other, beside a real server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.real_server import environment, real_server
from tests.test_command_process import COMMAND

PATIENCE = 30


class PathProcessTests(SynchronousTestCase):
    """What two users see."""

    def setUp(self) -> None:
        """Begin with an empty configuration folder."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.environ = environment() | {"XDG_CONFIG_HOME": str(self.directory)}

    @contextmanager
    def server(self) -> Iterator[None]:
        """Have a server."""
        with real_server(udp_ports=("0", "0")) as server:
            self.environ["RENDEZVOUS_SERVER"] = server.url
            yield

    def started(self, user: str, *words: str) -> subprocess.Popen[str]:
        """:returns: a process of this user."""
        process = subprocess.Popen(
            [*COMMAND, *words, "--identity", str(self.directory / user)],
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        """End a process, if it has not ended, and close its pipes."""
        process.kill()
        process.communicate()

    def event(self, process: subprocess.Popen[str], name: str) -> Any:
        """:returns: the next event, which has this name."""
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()
        event = json.loads(line)
        self.assertEqual(event["event"], name)
        return event

    def write(self, process: subprocess.Popen[str], text: str) -> None:
        """Type something."""
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.flush()

    def test_lines_go_both_ways(self) -> None:
        """With ``--json``, and until the end of stdin; the listener takes the next peer."""
        with self.server():
            listening = self.started("bob", "listen", "--json")
            bob = self.event(listening, "listening")["id"]
            for user in ("alice", "carol"):
                connecting = self.started(user, "connect", bob, "--json")
                connected, taken = self.event(connecting, "connected"), self.event(listening, "connected")
                self.assertEqual((connected["peer"], connected["via"]), (bob, "lan"))
                self.assertLess(connected["ms"], 10_000)
                self.write(connecting, "hello\n")
                self.assertEqual(self.event(listening, "data")["text"], "hello")
                self.write(listening, "grüß dich\n")
                self.assertEqual(self.event(connecting, "data")["text"], "grüß dich")
                out, err = connecting.communicate(timeout=PATIENCE)
                self.assertEqual([json.loads(line)["event"] for line in out.splitlines()], ["closed"])
                self.assertEqual(connecting.returncode, 0)
                self.assertIn("NOT ENCRYPTED", err)
                self.assertEqual(self.event(listening, "closed")["peer"], taken["peer"])
            listening.send_signal(signal.SIGINT)
            self.assertEqual(listening.communicate(timeout=PATIENCE)[0], "")
            self.assertEqual(listening.returncode, 0)

    def test_pipes(self) -> None:
        """Stdout has the lines of the peer and nothing else."""
        with self.server():
            id_of_bob = subprocess.run(
                [*COMMAND, "id", "--identity", str(self.directory / "bob")],
                env=self.environ,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            ).stdout.strip()
            listening = self.started("bob", "listen")
            assert listening.stderr is not None and listening.stdout is not None
            while "Listening as" not in listening.stderr.readline():
                pass
            connecting = self.started("alice", "connect", id_of_bob)
            out, err = connecting.communicate("one\ntwo", timeout=PATIENCE)
            self.assertEqual((connecting.returncode, out), (0, ""))
            self.assertIn(f"Connected to {id_of_bob}", err)
            self.assertEqual([listening.stdout.readline() for _ in range(2)], ["one\n", "two\n"])
            listening.send_signal(signal.SIGTERM)
            self.assertEqual(listening.communicate(timeout=PATIENCE)[0], "")
            self.assertEqual(listening.returncode, 0)

    def test_declined_and_interrupted(self) -> None:
        """A peer that is not allowed learns it; Ctrl-C, and a closed terminal, end a connection well on both sides."""
        with self.server():
            alice = subprocess.run(
                [*COMMAND, "id", "--identity", str(self.directory / "alice")],
                env=self.environ,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            ).stdout.strip()
            listening = self.started("bob", "listen", "--json", "--allow", alice)
            bob = self.event(listening, "listening")["id"]
            stranger = self.started("carol", "connect", bob, "--json")
            self.assertEqual(self.event(stranger, "failed")["code"], "declined")
            self.assertEqual(stranger.wait(PATIENCE), 1)
            for number in (signal.SIGINT, signal.SIGHUP):
                connecting = self.started("alice", "connect", bob, "--json")
                self.event(connecting, "connected")
                self.assertEqual(self.event(listening, "connected")["peer"], alice)
                connecting.send_signal(number)
                self.event(connecting, "closed")
                self.assertEqual(connecting.wait(PATIENCE), 0)
                self.event(listening, "closed")

    def test_nohup(self) -> None:
        """A command that is to survive its terminal does."""
        with self.server():
            listening = subprocess.Popen(
                ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *COMMAND, "listen", "--json"],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.addCleanup(self.end, listening)
            bob = self.event(listening, "listening")["id"]
            listening.send_signal(signal.SIGHUP)
            self.event(self.started("alice", "connect", bob, "--json"), "connected")
            self.event(listening, "connected")

    def test_forwarding(self) -> None:
        """A program reaches a UDP port at the peer, and only that port."""
        with (
            self.server(),
            socket.socket(type=socket.SOCK_DGRAM) as served,
            socket.socket(type=socket.SOCK_DGRAM) as game,
        ):
            for opened in (served, game):
                opened.settimeout(PATIENCE)
                opened.bind(("127.0.0.1", 0))
            port = served.getsockname()[1]
            serving = self.started("bob", "serve", str(port), "--json")
            bob = self.event(serving, "listening")["id"]
            forwarding = self.started("alice", "forward", bob, f"0:{port}", "0:9", "--json")
            self.event(forwarding, "connected")
            entries = [self.event(forwarding, "forwarding")["local"] for _ in range(2)]
            game.sendto(bytes(1195), ("127.0.0.1", entries[0]))
            datagram, source = served.recvfrom(2000)
            self.assertEqual(datagram, bytes(1195))
            served.sendto(b"welcome", source)
            self.assertEqual(game.recvfrom(2000), (b"welcome", ("127.0.0.1", entries[0])))
            game.sendto(b"x", ("127.0.0.1", entries[1]))
            self.assertEqual(self.event(forwarding, "refused")["port"], 9)
            self.event(serving, "connected")
            serving.send_signal(signal.SIGINT)
            self.event(forwarding, "closed")
            self.assertEqual((forwarding.wait(PATIENCE), serving.wait(PATIENCE)), (0, 0))
