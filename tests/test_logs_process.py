"""Tests of the log of a real ``twistd rendezvous``: its formats, its places, and a disk that is full."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import IO, Any

from tests._process_case import ON_TIME, TWISTD, ForegroundCase


class LogTests(ForegroundCase):
    """Tests of ``--log-format`` and of the options of twistd beside it."""

    before: tuple[str, ...] = ("-n",)

    def launch_words(self, out: IO[str], err: IO[str], *words: str) -> subprocess.Popen[bytes]:
        """:returns: the process, with options of twistd."""
        command = [*TWISTD, *self.before, "rendezvous", "--interface=127.0.0.1", *words]
        return subprocess.Popen(command, cwd=self.directory, env=self.environ, stdout=out, stderr=err)

    def objects(self, name: str) -> list[dict[str, Any]]:
        """:returns: the lines of a file, each of which is an object."""
        return [json.loads(line) for line in (self.directory / name).read_text().splitlines()]

    def test_json_has_a_line_for_each_event_from_start_to_stop(self) -> None:
        """Nothing else is written to standard output, and nothing to standard error."""
        self.start("--log-format=json")
        self.stop(signal.SIGTERM)
        events = [event["event"] for event in self.objects("out.log")]
        self.assertEqual(events.count("listening"), 2)
        self.assertLess(events.index("store_chosen"), events.index("server_started"))
        self.assertEqual(events[-2:], ["server_stopping", "server_stopped"])
        [started] = [event for event in self.objects("out.log") if event["event"] == "server_started"]
        self.assertEqual(started["process"], self.process.pid)

    def test_json_goes_to_a_file_that_is_rotated(self) -> None:
        """SIGUSR1 begins a new one."""
        self.before = ("-n", "--logfile=server.log")
        self.environ["RENDEZVOUS_LOG_FORMAT"] = "json"
        self.start()
        self.process.send_signal(signal.SIGUSR1)
        self.eventually(lambda: (self.directory / "server.log.1").exists(), "rotating")
        self.process.send_signal(signal.SIGHUP)
        self.eventually(lambda: "reloaded" in (self.directory / "server.log").read_text(), "reloading")
        self.assertEqual(self.objects("server.log")[0]["event"], "reloaded")
        self.assertIn("server_started", [event["event"] for event in self.objects("server.log.1")])
        self.assertEqual((self.directory / "out.log").read_text(), "")

    def test_logger_of_twistd_goes_before(self) -> None:
        """But not if a format is asked for as well."""
        self.before = ("-n", "--logger=twisted.logger.textFileLogObserver")
        done = self.run_twistd(*self.before, "rendezvous", "--log-format=json")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--log-format and twistd's --logger contradict each other", done.stderr)

    def test_log_file_that_cannot_be_opened_is_one_line(self) -> None:
        """And status 1."""
        done = self.run_twistd("-n", "--logfile=nowhere/x.log", "rendezvous", "--store=memory:")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            done.stderr.splitlines()[-1],
            "twistd rendezvous: the log file 'nowhere/x.log' cannot be written: No such file or directory",
        )

    def test_server_goes_on_when_the_disk_of_its_log_is_full(self) -> None:
        """Lines are lost, and nothing else: clients are served, a reload reloads, and a stop stops."""
        with open("/dev/full", "w") as full, open(self.directory / "err.log", "w") as err:
            words = ("--http=tcp:0:interface=127.0.0.1", "--udp-port=0")
            self.process = self.launch_words(full, err, *words)
        self.addCleanup(self.kill)
        ports = self.eventually(lambda: _ports(self.process.pid), "listening")
        client = self.client("127.0.0.1", ports)
        self.assertEqual(client.pulse(), ON_TIME)
        self.process.send_signal(signal.SIGHUP)
        self.assertEqual(client.pulse(), ON_TIME)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.assertTrue((self.directory / "rendezvous.sqlite3").exists())


def _ports(process: int) -> tuple[int, int] | None:
    """:returns: the TCP port and the UDP port of a process, once it has both."""
    found = []
    inodes = {os.readlink(path) for path in Path(f"/proc/{process}/fd").iterdir() if path.is_symlink()}
    for kind, state in (("tcp", "0A"), ("udp", "07")):
        lines = [line.split() for line in Path(f"/proc/{process}/net/{kind}").read_text().splitlines()[1:]]
        ports = [
            int(line[1].split(":")[1], 16) for line in lines if line[3] == state and f"socket:[{line[9]}]" in inodes
        ]
        found += ports[:1]
    return (found[0], found[1]) if len(found) == 2 else None
