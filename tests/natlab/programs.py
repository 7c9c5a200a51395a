"""The programs of a run in the laboratory: the server, coturn, a daemon for port mapping, and ``rendezvous`` itself."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tests.natlab.namespaces import LaboratoryError, find
from tests.natlab.network import SERVER, SERVER_IPV6, TURN, Network, Site
from tests.real_server import CHECKOUT, TWISTD, environment

COMMAND = (sys.executable, "-m", "rendezvous.commands.rendezvous")
HTTP_PORT, UDP_PORTS, TURN_PORT = 5080, (5024, 5026), 3478
#: The server's name, which :data:`_WITH_NAMES` makes known to a program.
NAME = "server.natlab"
URL = f"http://{NAME}:{HTTP_PORT}"
START_SECONDS = 30.0
_SECRET = "the secret of the laboratory's relay"

#: Runs a program with a file of names of its own. ``ip netns exec`` has made a mount namespace for it.
_WITH_NAMES = ("sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')

#: What miniupnpd adds rules to. Its translations come before those of the router itself.
_CHAINS = """
table inet miniupnpd {
  chain forward { type filter hook forward priority -5; jump miniupnpd; }
  chain prerouting { type nat hook prerouting priority dstnat - 5; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority srcnat - 5; jump postrouting_miniupnpd; }
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
"""
_MINIUPNPD = """
ext_ifname=wan
listening_ip=lan
enable_natpmp=yes
enable_upnp=no
secure_mode=yes
min_lifetime=120
upnp_table_name=miniupnpd
upnp_nat_table_name=miniupnpd
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
allow 1024-65535 0.0.0.0/0 1024-65535
"""


class Programs:
    """
    Starts programs in a network.

    :param directory: for their files; it has the logs afterwards.
    """

    def __init__(self, network: Network, directory: Path) -> None:
        self._network = network
        self._directory = directory

    def server(self, *options: str) -> subprocess.Popen[str]:
        """
        Start a server in the core, on the first of its addresses and on two UDP ports.

        :param options: further ones of ``twistd rendezvous``.
        """
        ports = (f"--http-port={HTTP_PORT}", *(f"--udp-port={port}" for port in UDP_PORTS))
        process = self._start("server", "server", *TWISTD, "rendezvous", *ports, *options, env=environment())
        self._wait_for("server", process, f"tcp:{HTTP_PORT}", *(f"udp:{port}" for port in UDP_PORTS))
        return process

    def turn(self) -> tuple[str, ...]:
        """
        Start coturn in the core, over UDP and TCP.

        :returns: the options with which a server gives out credentials for it.
        """
        options = (f"--listening-ip={TURN}", f"--relay-ip={TURN}", f"--listening-port={TURN_PORT}")
        secret = ("--use-auth-secret", f"--static-auth-secret={_SECRET}", "--realm=laboratory")
        files = (f"--pidfile={self._directory / 'turn.pid'}", f"--userdb={self._directory / 'turn.db'}")
        quiet = ("-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--fingerprint")
        process = self._start("turn", "turn", find("turnserver") or "turnserver", *quiet, *options, *secret, *files)
        self._wait_for("turn", process, f"tcp:{TURN_PORT}", f"udp:{TURN_PORT}")
        path = self._directory / "turn-secret"
        path.write_text(_SECRET)
        path.chmod(0o600)
        uris = (f"turn:{TURN}:{TURN_PORT}?transport={transport}" for transport in ("udp", "tcp"))
        return *(f"--turn-uri={uri}" for uri in uris), f"--turn-secret-file={path}"

    def port_mapping(self, site: Site) -> None:
        """Start a daemon on a router that gives mappings by NAT-PMP (RFC 6886) and PCP (RFC 6887)."""
        self._network.namespaces.run(site.name, "nft", "-f", "-", stdin=_CHAINS)
        path = self._directory / f"{site.name}.miniupnpd"
        path.write_text(_MINIUPNPD)
        words = (find("miniupnpd") or "miniupnpd", "-d", "-f", str(path), "-P", f"{path}.pid")
        self._wait_for(site.name, self._start(site.name, site.name, *words), "udp:5351")

    def rendezvous(self, host: str, *words: str, ipv6: bool = False, command: Sequence[str] = COMMAND) -> Rendezvous:
        """
        Start the command ``rendezvous`` on a host, with an identity of its own.

        :param ipv6: whether it knows the server's IPv6 address as well.
        :param command: what is started in its place.
        """
        log = open(self._directory / f"{host}.err", "a")  # noqa: SIM115 - the process has it
        with log:
            process = self._network.namespaces.start(
                host,
                *self.with_names(host, ipv6=ipv6),
                *command,
                *words,
                "--json",
                "--server",
                URL,
                cwd=CHECKOUT,
                env={**environment(), "XDG_CONFIG_HOME": str(self._directory / host), "PYTHONUNBUFFERED": "1"},
                stderr=log,
            )
        return Rendezvous(self._network, process, self._directory / f"{host}.err")

    def with_names(self, host: str, *, ipv6: bool = False) -> tuple[str, ...]:
        """
        :param ipv6: whether the host knows the server's IPv6 address as well.
        :returns: what stands in front of a command that is to find the server by its name.
        """
        names = self._directory / f"{host}.hosts"
        addresses = ("127.0.0.1 localhost", f"{SERVER} {NAME}", *([f"{SERVER_IPV6} {NAME}"] if ipv6 else []))
        names.write_text("".join(f"{line}\n" for line in addresses))
        return *_WITH_NAMES, str(names)

    def _start(self, namespace: str, log: str, *words: str, **options: Any) -> subprocess.Popen[str]:
        with open(self._directory / f"{log}.log", "w") as out:
            return self._network.namespaces.start(
                namespace, *words, cwd=self._directory, stdout=out, stderr=subprocess.STDOUT, **options
            )

    def _wait_for(self, name: str, process: subprocess.Popen[str], *ports: str) -> None:
        """Wait until something listens on all these ports in a namespace: ``tcp:80``."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            lines = self._network.namespaces.run(name, "ss", "-Hlntu").splitlines()
            if {f"{line.split()[0]}:{line.split()[4].rpartition(':')[2]}" for line in lines} >= set(ports):
                return
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self._directory / f"{name}.log").read_text(errors="replace")[-500:]
                raise LaboratoryError(f"nothing listens on {', '.join(ports)} in {name}: {said}")
            time.sleep(0.02)


class Rendezvous:
    """
    A running command ``rendezvous``, whose events are read.

    :param errors: where its standard error goes.
    """

    def __init__(self, network: Network, process: subprocess.Popen[str], errors: Path) -> None:
        self._network = network
        self.process = process
        self._errors = errors
        self._events: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=self._read, args=[process.stdout], daemon=True).start()

    def _read(self, out: IO[str]) -> None:
        try:
            for line in out:
                self._events.put((time.monotonic(), json.loads(line)))
        except ValueError as error:
            # A line that is no JSON, or the end of the process closed the pipe.
            self._events.put((time.monotonic(), {"event": "ended", "reason": f"standard output: {error}"}))
        self._events.put((time.monotonic(), {"event": "ended"}))

    def event(self, *names: str, patience: float) -> tuple[float, dict[str, Any]]:
        """
        Wait for an event; others before it are passed over.

        :param names: of the event; any of them will do.
        :param patience: seconds.
        :returns: when it was read, and the event.
        :raises LaboratoryError: if it does not come.
        """
        deadline = time.monotonic() + patience
        passed = []
        while True:
            try:
                when, event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if event["event"] in names:
                return when, event
            passed.append(event)
            if event["event"] == "ended":
                break
        said = self._errors.read_text(errors="replace")[-500:]
        raise LaboratoryError(f"none of {', '.join(names)} came within {patience:g} s; {passed}; {said}")

    def passed_over(self) -> list[tuple[float, dict[str, Any]]]:
        """:returns: the events that have come and were not waited for."""
        found = []
        while not self._events.empty():
            found.append(self._events.get())
        return found

    def say(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self, patience: float = 5.0) -> int:
        """
        End standard input, and wait for the end of the process.

        :returns: its exit status.
        """
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise LaboratoryError("The process went on after the end of standard input.") from None
        return self.stop()

    def stop(self) -> int:
        """
        Interrupt the process, if it has not ended.

        :returns: its exit status.
        """
        return self._network.namespaces.end(self.process, signal.SIGINT)
