"""The unit of systemd, and the server under a supervisor that confines it as the unit says."""

from __future__ import annotations

import ctypes.util
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests._process_case import ON_TIME, PATIENCE, TWISTD, Client, ForegroundCase
from tests.attack.shim import Shim, missing
from tests.certificates import pem
from tests.test_peers_process import require

UNITS = Path(__file__).parents[1] / "deploy" / "systemd"
CONFINED = Path(__file__).with_name("confined_script.py")
#: Runs a command that has a descriptor of its parent as its third. ``sh`` cannot do that with descriptors over 9.
AS_THIRD = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"

#: The exposure that the unit may have (systemd-analyze(1)): 0 is best, and 10 worst.
EXPOSURE = 2.5


def settings_of(path: Path) -> dict[str, list[str]]:
    """:returns: the values of each setting of a unit."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def analyze(*words: str) -> str:
    """
    Run ``systemd-analyze``.

    :returns: what it says.
    """
    program = shutil.which("systemd-analyze")
    require(program, "systemd-analyze (Debian: systemd)")
    done = subprocess.run(
        [str(program), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def calls_of(name: str) -> set[str]:
    """:returns: the system calls of a set of systemd, and of those that are part of it."""
    lines = [line.strip() for line in analyze("syscall-filter", name).splitlines()[1:]]
    names = [line for line in lines if line and not line.startswith("#")]
    return {call for found in names for call in (calls_of(found) if found.startswith("@") else {found})}


class UnitTests(SynchronousTestCase):
    """What systemd says of the files."""

    def setUp(self) -> None:
        """Copy the units, with a program in place of the one in ``/opt``, which is not there."""
        self.directory = Path(tempfile.mkdtemp(prefix="units-"))
        self.addCleanup(shutil.rmtree, self.directory)
        for path in UNITS.glob("rendezvous.*"):
            text = path.read_text(encoding="utf-8").replace("/opt/rendezvous/bin/twistd", sys.executable)
            (self.directory / path.name).write_text(text, encoding="utf-8")

    def test_units_are_valid(self) -> None:
        """No setting is unknown, and no value is one that it does not take."""
        for name in ("rendezvous.service", "rendezvous.socket"):
            self.assertEqual(analyze("verify", str(self.directory / name)), "")

    def test_little_is_exposed(self) -> None:
        """By systemd's own measure."""
        said = analyze("security", "--offline=true", "--no-pager", str(self.directory / "rendezvous.service"))
        level = re.search(r"Overall exposure level for rendezvous.service: ([0-9.]+)", said)
        assert level is not None, said
        self.assertLessEqual(float(level[1]), EXPOSURE)


class SupervisedTests(ForegroundCase):
    """A server that a supervisor starts as the unit says."""

    def setUp(self) -> None:
        """Make what the unit asks for: a supervisor's socket, a directory, settings, and the filter."""
        super().setUp()
        require(shutil.which("systemd-analyze"), "systemd-analyze (Debian: systemd)")
        require(ctypes.util.find_library("seccomp"), "libseccomp (Debian: libseccomp2)")
        self.unit = settings_of(UNITS / "rendezvous.service")
        self.name = f"rendezvous-supervisor-{os.getpid()}-{id(self)}"
        self.heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.heard.bind(f"\0{self.name}")
        self.heard.settimeout(PATIENCE)
        self.addCleanup(self.heard.close)
        self.environ |= {"NOTIFY_SOCKET": f"@{self.name}", "PYTHONUNBUFFERED": "1"}
        (self.directory / "tls.pem").write_bytes(b"".join(pem("localhost")))
        self.settings = {
            "http": ["tcp:0:interface=127.0.0.1", "ssl:0:interface=127.0.0.1:privateKey=tls.pem:certKey=tls.pem"],
            "udp_port": [0],
            "interface": "127.0.0.1",
        }
        (self.directory / "filter.json").write_text(json.dumps(self.filter()))

    def filter(self) -> dict[str, list[str]]:
        """:returns: what the unit allows."""
        allowed = calls_of("@default")
        for value in self.unit["SystemCallFilter"]:
            calls = {call for name in value.lstrip("~").split() for call in calls_of(name)}
            allowed = allowed - calls if value.startswith("~") else allowed | calls
        return {"calls": sorted(allowed), "families": self.unit["RestrictAddressFamilies"][0].split()}

    def supervise(self, *, listening: socket.socket | None = None) -> None:
        """Start the server with the command of the unit, and wait until it says that it has started."""
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.settings.items()]
        (self.directory / "rendezvous.toml").write_text("\n".join(lines))
        [start] = self.unit["ExecStart"]
        program, *words = start.split()
        self.assertEqual(program, "/opt/rendezvous/bin/twistd")
        words = [word.replace("/etc/rendezvous/", "") for word in words]
        command = [sys.executable, str(CONFINED), str(self.directory / "filter.json"), *TWISTD, *words]
        if listening is not None:
            # As systemd does, the socket is descriptor 3.
            command = [sys.executable, "-c", AS_THIRD, str(listening.fileno()), *command]
        passed = () if listening is None else (listening.fileno(),)
        with open(self.directory / "out.log", "w") as out, open(self.directory / "err.log", "w") as err:
            self.process = subprocess.Popen(
                command, cwd=self.directory, env=self.environ, stdout=out, stderr=err, pass_fds=passed
            )
        self.addCleanup(self.kill)
        self.hear("READY=1")

    def hear(self, expected: str) -> str:
        """
        Wait for a message of the server, and pass over those of the watchdog.

        :returns: the whole message.
        """
        message = "WATCHDOG=1"
        while message == "WATCHDOG=1" != expected:
            try:
                message = self.heard.recv(1000).decode("ascii")
            except TimeoutError:
                self.fail(f"{expected} was not heard: {self.log()}")
        else:
            if expected == "WATCHDOG=1":
                message = self.heard.recv(1000).decode("ascii")
        self.assertEqual(message.split("\n")[0], expected, self.log())
        return message

    def silent(self) -> bool:
        """:returns: whether nothing is heard for a while."""
        self.heard.settimeout(1.0)
        try:
            return not self.heard.recv(1000)
        except TimeoutError:
            return True
        finally:
            self.heard.settimeout(PATIENCE)

    def test_filter_refuses_what_the_unit_forbids(self) -> None:
        """So the other tests show that the server needs none of it."""
        forbidden = ("os.chroot('/')", "os.setpriority(0, 0, 1)", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)")
        for call in forbidden:
            program = f"import errno, os, socket\ntry: {call}\nexcept OSError as e: print(errno.errorcode[e.errno])"
            command = [
                sys.executable,
                str(CONFINED),
                str(self.directory / "filter.json"),
                sys.executable,
                "-c",
                program,
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
            self.assertEqual(done.stdout, "EPERM\n", call)

    def test_start_reload_and_stop(self) -> None:
        """The supervisor hears of each; clients are served meanwhile, also with TLS."""
        self.supervise()
        ports = self.ports()
        client = self.client("127.0.0.1", ports)
        self.assertEqual(client.pulse(), ON_TIME)
        [tls] = self.eventually(lambda: re.findall(r"HTTPS on \S+:([0-9]+)\n", self.log()), "TLS")
        context = ssl.create_default_context(cafile=str(self.directory / "tls.pem"))
        context.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", int(tls)), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertIn(b"200 OK", secured.recv(100))
        [reload] = self.unit["ExecReload"]
        self.assertEqual(reload, "/bin/kill -HUP $MAINPID")
        self.process.send_signal(signal.SIGHUP)
        self.hear("RELOADING=1")
        self.hear("READY=1")
        self.assertIn("certificates read again: 1", self.log())
        self.process.send_signal(signal.SIGTERM)
        self.hear("STOPPING=1")
        self.assertEqual(self.process.wait(PATIENCE), -signal.SIGTERM)
        self.assertNotIn("Traceback", self.log())

    def test_crash_and_restart(self) -> None:
        """After SIGKILL, a server that is started again knows the clients."""
        self.supervise()
        client = self.client("127.0.0.1", self.ports())
        self.assertEqual(client.pulse(), ON_TIME)
        self.process.kill()
        self.process.wait(PATIENCE)
        self.supervise()
        again = Client("127.0.0.1", self.ports())
        self.addCleanup(again.close)
        again.key = client.key
        self.assertEqual(again.pulse(), ON_TIME)

    def test_start_that_fails_is_not_ready(self) -> None:
        """The process ends with status 1, which counts as a failure."""
        self.settings["http"] = ["tcp:0:interface=192.0.2.1"]
        with self.assertRaises(self.failureException):
            self.heard.settimeout(5)
            self.supervise()
        self.assertEqual(self.process.wait(PATIENCE), 1)

    def test_watchdog_hears_nothing_of_a_server_that_stands_still(self) -> None:
        """While the reactor runs, there is a message at each half of the time."""
        self.environ["WATCHDOG_USEC"] = "400000"
        self.supervise()
        self.hear("WATCHDOG=1")
        self.hear("WATCHDOG=1")
        self.process.send_signal(signal.SIGSTOP)
        self.heard.setblocking(False)
        while True:
            try:
                self.heard.recv(1000)
            except BlockingIOError:
                break
        self.assertTrue(self.silent())
        self.process.send_signal(signal.SIGCONT)
        self.hear("WATCHDOG=1")

    def preload(self) -> Shim:
        """:returns: what fills the disk of the server, and sets its clock."""
        require(not missing(), missing())
        shim = Shim(self.directory)
        self.environ |= dict(word.split("=", 1) for word in shim.prefix[1:])
        return shim

    def test_full_disk(self) -> None:
        """The server is not ready, and goes on under its supervisor; when there is room again, it is as before."""
        shim = self.preload()
        self.environ["WATCHDOG_USEC"] = "400000"
        self.supervise()
        client = self.client("127.0.0.1", self.ports())
        self.assertEqual(client.pulse(), ON_TIME)
        shim.full(True)
        self.assertEqual(self.eventually(lambda: client.ask("POST", "/register")[1].get("code"), "refusing"), "unsaved")
        self.assertEqual(client.ask("GET", "/ready")[0], 503)
        self.assertEqual(client.ask("GET", "/health")[0], 200)
        self.assertEqual(client.pulse(), ON_TIME)
        for _ in range(3):
            self.hear("WATCHDOG=1")
        shim.full(False)
        self.eventually(lambda: client.ask("GET", "/ready")[0] == 200, "being ready")
        self.assertEqual(client.ask("POST", "/register")[0], 200)
        self.process.send_signal(signal.SIGTERM)
        self.hear("STOPPING=1")
        self.assertEqual(self.process.wait(PATIENCE), -signal.SIGTERM)

    def test_clock_that_is_set(self) -> None:
        """The watchdog hears of the server as before, and a reload has the time on the monotonic clock."""
        shim = self.preload()
        self.environ["WATCHDOG_USEC"] = "400000"
        self.supervise()
        client = self.client("127.0.0.1", self.ports())
        for seconds in (86_400.0, -86_400.0):
            shim.shift(seconds)
            for _ in range(3):
                self.hear("WATCHDOG=1")
            self.assertEqual(client.pulse(), ON_TIME)
            before = time.monotonic()
            self.process.send_signal(signal.SIGHUP)
            message = self.hear("RELOADING=1")
            said = int(message.partition("MONOTONIC_USEC=")[2]) / 1e6
            self.assertTrue(before <= said <= time.monotonic(), message)
            self.hear("READY=1")

    def test_workers_are_allowed(self) -> None:
        """They are processes that share memory with the server."""
        self.settings["udp_workers"] = 1
        self.supervise()
        self.eventually(
            lambda: "UDP worker 0 answers" in self.log() or "UDP worker 1 answers" in self.log(), "a worker"
        )
        client = self.client("127.0.0.1", self.ports())
        self.assertEqual([client.pulse() for _ in range(3)], [ON_TIME] * 3)

    def test_port_of_the_supervisor_stays_open_during_a_restart(self) -> None:
        """A connection that is made while no server runs waits for the next one."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        [name] = settings_of(UNITS / "rendezvous.socket")["FileDescriptorName"]
        self.settings["http"] = [f"systemd:domain=INET:name={name}"]
        for _ in range(2):
            early = socket.create_connection(listening.getsockname(), PATIENCE)
            self.addCleanup(early.close)
            early.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.supervise(listening=listening)
            self.assertIn(b"200 OK", early.recv(100))
            self.process.send_signal(signal.SIGTERM)
            self.hear("STOPPING=1")
            self.process.wait(PATIENCE)
