"""Tests of signals to a real server on loopback: SIGHUP reloads, and neither that nor SIGUSR1 ends it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests._process_case import ON_TIME, PATIENCE, Client, ForegroundCase, ProcessCase
from tests.certificates import pem


class ReloadCase(ForegroundCase):
    """A server with a configuration file and a certificate."""

    def setUp(self) -> None:
        """Write them."""
        super().setUp()
        self.config = self.directory / "rendezvous.toml"
        self.config.write_text("udp_rate = 50\n")
        self.write_certificate()

    def write_certificate(self) -> bytes:
        """
        Write a new certificate and its key, as a program that renews certificates does.

        :returns: the certificate as it is sent.
        """
        certificate, key = pem()
        for name, content in (("cert.pem", certificate), ("key.pem", key)):
            (self.directory / "draft").write_bytes(content)
            (self.directory / "draft").rename(self.directory / name)
        return ssl.PEM_cert_to_DER_cert(certificate.decode("ascii"))

    def start_tls(self, *words: str) -> int:
        """:returns: the port of a server that speaks TLS."""
        endpoint = "ssl:0:privateKey=key.pem:certKey=cert.pem:interface=127.0.0.1"
        with open(self.directory / "out.log", "w") as out, open(self.directory / "err.log", "w") as err:
            self.process = self.launch_words(out, err, "--udp-port=0", "--http", endpoint, *words)
        self.addCleanup(self.kill)
        return int(self.wait_for(r"HTTPS on 127\.0\.0\.1:(\d+)"))

    def wait_for(self, pattern: str, times: int = 1) -> str:
        """:returns: the last group of a line of the log, once there are so many of them."""
        found = self.eventually(
            lambda: len(matches := re.findall(pattern, self.log())) >= times and matches, f"{pattern!r} in the log"
        )
        return str(found[-1])

    def hang_up(self) -> None:
        """Send SIGHUP."""
        self.process.send_signal(signal.SIGHUP)


class TLSTests(ReloadCase):
    """Tests of certificates, with real connections."""

    @contextlib.contextmanager
    def connection(self, port: int) -> Iterator[ssl.SSLSocket]:
        """Open a connection with TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain, context.wrap_socket(plain) as wrapped:
            yield wrapped

    def ask(self, connection: ssl.SSLSocket) -> bytes:
        """:returns: the first line of the answer to a request on a connection that stays open."""
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            received = connection.recv(65536)
            self.assertNotEqual(received, b"", "the connection was closed")
            answer += received
        return answer.split(b"\r\n")[0]

    def test_new_connection_gets_the_new_certificate_and_an_old_one_lives_on(self) -> None:
        """What was renewed is used without a restart, and without losing anybody."""
        port = self.start_tls()
        with self.connection(port) as old:
            first = old.getpeercert(binary_form=True)
            self.assertEqual(self.ask(old), b"HTTP/1.1 200 OK")
            renewed = self.write_certificate()
            with self.connection(port) as unaware:
                self.assertEqual(unaware.getpeercert(binary_form=True), first)
            self.hang_up()
            self.wait_for("reloaded: no setting has changed; certificates read again: 1")
            with self.connection(port) as new:
                self.assertEqual(new.getpeercert(binary_form=True), renewed)
                self.assertEqual(self.ask(new), b"HTTP/1.1 200 OK")
            self.assertNotEqual(first, renewed)
            self.assertEqual(self.ask(old), b"HTTP/1.1 200 OK")
        self.stop(signal.SIGTERM)

    def test_bad_certificate_is_one_line_and_changes_nothing(self) -> None:
        """Nor do the settings that come with it; the next good one is taken."""
        port = self.start_tls("--config=rendezvous.toml")
        with self.connection(port) as connection:
            first = connection.getpeercert(binary_form=True)
        (self.directory / "key.pem").write_text("junk")
        self.config.write_text("udp_rate = 60\n")
        self.hang_up()
        self.wait_for(r"nothing was reloaded: --http 'ssl:0:.*' is not a usable endpoint: ")
        with self.connection(port) as connection:
            self.assertEqual(connection.getpeercert(binary_form=True), first)
        renewed = self.write_certificate()
        self.hang_up()
        self.wait_for(r"reloaded: udp_rate = 60 \(was 50\); certificates read again: 1")
        with self.connection(port) as connection:
            self.assertEqual(connection.getpeercert(binary_form=True), renewed)
        self.stop(signal.SIGTERM)


class SignalTests(ReloadCase):
    """Tests of signals at any time."""

    def test_settings_of_the_file_are_read_again(self) -> None:
        """Those that can change do, the others are refused; a file that cannot be used changes nothing."""
        ports = self.start("--config=rendezvous.toml", "--interface=127.0.0.1")
        client = self.client("127.0.0.1", ports)
        self.assertEqual(client.pulse(), ON_TIME)
        self.config.write_text("udp_rate = 70\npulse_interval = 10\nstore = 'memory:'\n")
        self.hang_up()
        self.wait_for(r"reloaded: udp_rate = 70 \(was 50\); certificates read again: 0")
        self.wait_for(r"not reloaded: pulse_interval = 10 \(was 30\); only a restart can change this")
        self.wait_for(r"not reloaded: store = memory: \(was sqlite:rendezvous.sqlite3\); only")
        for text, reason in (
            ("udp_rate = 'fast'", r"rendezvous\.toml: udp_rate must be a number"),
            ("what is this", r"rendezvous\.toml' is not TOML: .*line 1"),
            ("udp_rat = 5", r"rendezvous\.toml: 'udp_rat' is not a setting; the nearest one is udp_rate"),
        ):
            self.config.write_text(text)
            self.hang_up()
            self.wait_for(f"nothing was reloaded: .*{reason}")
        self.config.unlink()
        self.hang_up()
        self.wait_for("nothing was reloaded: the configuration file .* cannot be read: No such file or directory")
        self.assertEqual(client.pulse(), ON_TIME)
        self.stop(signal.SIGTERM)

    def test_signals_do_not_end_a_server_in_the_foreground(self) -> None:
        """It says what it makes of each, and still serves."""
        ports = self.start("--interface=127.0.0.1")
        client = self.client("127.0.0.1", ports)
        self.process.send_signal(signal.SIGUSR1)
        self.wait_for("SIGUSR1 is ignored: there is no log file to rotate")
        self.hang_up()
        self.wait_for("reloaded: no setting has changed; certificates read again: 0")
        self.assertEqual(client.pulse(), ON_TIME)
        self.stop(signal.SIGINT)

    def test_hangups_while_starting_and_stopping_do_not_end_it(self) -> None:
        """One after the other from the moment that the server knows its own name to its last."""
        with open(self.directory / "out.log", "w") as out, open(self.directory / "err.log", "w") as err:
            self.process = self.launch(out, err, ("--interface=127.0.0.1",))
        self.addCleanup(self.kill)
        # Before this the process is Python that has not reached our code yet.
        self.eventually(self.catches_hangups, "a handler for SIGHUP")
        done = threading.Event()
        hanging_up = threading.Thread(target=self.hang_up_until, args=(done,))
        hanging_up.start()
        try:
            client = self.client("127.0.0.1", self.ports())
            self.assertEqual(client.pulse(), ON_TIME)
            self.wait_for("reloaded: no setting has changed", times=3)
            self.stop(signal.SIGTERM)
        finally:
            done.set()
            hanging_up.join()

    def hang_up_until(self, done: threading.Event) -> None:
        """Send SIGHUP again and again."""
        while not done.is_set() and self.process.poll() is None:
            self.hang_up()
            time.sleep(0.005)

    def catches_hangups(self) -> bool:
        """:returns: whether the process has a handler for SIGHUP (proc(5), SigCgt)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
        return match is not None and bool(int(match[1], 16) >> (signal.SIGHUP - 1) & 1)


class DaemonSignalTests(ProcessCase):
    """Tests of signals to a daemon."""

    def test_daemon_reloads_and_rotates(self) -> None:
        """SIGHUP reads a file that was named relative to the directory of its start; SIGUSR1 is twistd's."""
        (self.directory / "rendezvous.toml").write_text("udp_rate = 50\n")
        (self.directory / "run").mkdir()
        words = ("--logfile=twistd.log", "--rundir=run", "rendezvous", "--http-port=0", "--udp-port=0")
        done = self.run_twistd(*words, "--interface=127.0.0.1", "--config=rendezvous.toml")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        pid = int((self.directory / "twistd.pid").read_text())
        self.addCleanup(self.kill, pid)
        client = Client("127.0.0.1", self.ports())
        self.addCleanup(client.close)
        client.register()
        (self.directory / "rendezvous.toml").write_text("udp_rate = 70\n")
        os.kill(pid, signal.SIGHUP)
        self.eventually(lambda: "reloaded: udp_rate = 70 (was 50)" in self.log(), "reloading")
        os.kill(pid, signal.SIGUSR1)
        self.eventually(lambda: (self.directory / "twistd.log.1").exists(), "rotating")
        self.assertEqual(client.pulse(), ON_TIME)
        os.kill(pid, signal.SIGTERM)
        self.eventually(lambda: not (self.directory / "twistd.pid").exists(), "stopping")

    def kill(self, pid: int) -> None:
        """End the daemon, if it is still the process of that number that runs in our directory."""
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cwd").resolve() == self.directory / "run":
                os.kill(pid, signal.SIGKILL)
