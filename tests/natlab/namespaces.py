"""Network namespaces of one run: made, entered, and removed however the run ends."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROGRAMS = ("ip", "nft", "conntrack", "ethtool", "setpriv")
PACKAGES = "iproute2 nftables conntrack ethtool util-linux coturn miniupnpd-nftables"

_PREFIX = "rvlab-"
_CLONE_NEWNET = 0x40000000
_ALL_PROTOCOLS = 3
_libc = ctypes.CDLL(None, use_errno=True)
_count = itertools.count()

#: Removes the namespaces of a prefix once its standard input ends, which it does when the process that started it does.
_REMOVER = """
cat >/dev/null
for name in $(ip netns list 2>/dev/null | cut -d ' ' -f 1); do
    case $name in "$0"*) ip netns del "$name" 2>/dev/null ;; esac
done
"""


class LaboratoryError(Exception):
    """A program of the laboratory has failed; the message has what it said."""


def missing(*programs: str) -> str:
    """
    Say what keeps the laboratory from running here.

    :param programs: further programs that are needed.
    :returns: a sentence; empty if nothing is missing.
    """
    if not sys.platform.startswith("linux"):
        return "The NAT laboratory needs Linux."
    if os.geteuid() != 0:
        return "The NAT laboratory needs root."
    absent = [each for each in (*PROGRAMS, *programs) if find(each) is None]
    if absent:
        return f"The NAT laboratory needs {', '.join(absent)} (Debian: {PACKAGES})."
    try:
        _run("unshare", "--net", "--mount", "true")
    except LaboratoryError as error:
        return f"The NAT laboratory needs the right to make network namespaces: {error}".strip()
    return ""


def find(program: str) -> str | None:
    """:returns: the path of a program; those of administrators are looked for too."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def stale(names: Sequence[str]) -> list[str]:
    """:returns: those of the names of namespaces that belong to a run that has ended."""
    return [
        name
        for name in names
        if (match := re.match(rf"{_PREFIX}(\d+)-", name)) and not Path(f"/proc/{match[1]}").exists()
    ]


def listed() -> list[str]:
    """:returns: the names of all namespaces of this machine."""
    return [line.split()[0] for line in _run("ip", "netns", "list").splitlines() if line]


def _run(*words: str, stdin: str = "") -> str:
    done = subprocess.run(
        [find(words[0]) or words[0], *words[1:]], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise LaboratoryError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}\n{stdin}")
    return done.stdout


class Namespaces:
    """
    The namespaces of one laboratory. Its names here are short; the system's have the prefix ``rvlab-PID-NUMBER-``.

    Processes end with the thread that started them. The namespaces are removed by a process that waits for the end of
    this one, so they go even if this one is killed.
    """

    def __init__(self) -> None:
        for name in stale(listed()):
            # Another laboratory may be removing it at the same moment.
            with contextlib.suppress(LaboratoryError):
                _run("ip", "netns", "del", name)
        self.prefix = f"{_PREFIX}{os.getpid()}-{next(_count)}-"
        self._processes: list[subprocess.Popen[str]] = []
        self._remover = subprocess.Popen(
            ["/bin/sh", "-c", _REMOVER, self.prefix], stdin=subprocess.PIPE, start_new_session=True
        )

    def close(self) -> None:
        """End all processes, and remove all namespaces. It may be called twice."""
        for process in list(self._processes):  # Each one that ends leaves the list.
            self.end(process)
        assert self._remover.stdin is not None
        self._remover.stdin.close()
        self._remover.wait()

    def add(self, name: str) -> None:
        """Make a namespace in which only the loopback interface is up, and IPv6 addresses can be used at once."""
        _run("ip", "netns", "add", self.prefix + name)
        self.sysctl(name, net__ipv6__conf__default__accept_dad=0)
        self.ip(name, "link set lo up")

    def remove(self, name: str) -> None:
        """Remove a namespace, with the ends of its interfaces elsewhere."""
        _run("ip", "netns", "del", self.prefix + name)

    def ip(self, name: str, *commands: str) -> None:
        """
        Run commands of ``ip`` in a namespace.

        :param commands: each is a line; in it ``@name`` stands for the name that the system has for a namespace.
        """
        lines = [re.sub(r"@([\w-]+)", rf"{self.prefix}\1", command) for command in commands]
        _run("ip", "-n", self.prefix + name, "-batch", "-", stdin="\n".join(lines) + "\n")

    def run(self, name: str, *words: str, stdin: str = "") -> str:
        """
        Run a program in a namespace until it ends.

        :returns: what it wrote.
        :raises LaboratoryError: if it fails.
        """
        return _run("ip", "netns", "exec", self.prefix + name, *words, stdin=stdin)

    def sysctl(self, name: str, **values: int) -> None:
        """Set values of the kernel in a namespace; ``__`` in a name stands for a dot."""
        words = [f"{key.replace('__', '.')}={value}" for key, value in values.items()]
        self.run(name, "sysctl", "-qw", *words)

    def start(self, name: str, *words: str, **options: Any) -> subprocess.Popen[str]:
        """
        Start a program in a namespace, with pipes to its standard input and output.

        :param options: further ones of :class:`subprocess.Popen`.
        :returns: the process, which ends at the latest with this one.
        """
        process = subprocess.Popen(
            [find("ip") or "ip", "netns", "exec", self.prefix + name, "setpriv", "--pdeathsig", "KILL", *words],
            text=True,
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options},
        )
        self._processes.append(process)
        return process

    def end(self, process: subprocess.Popen[str], number: int = signal.SIGKILL, patience: float = 5.0) -> int:
        """
        End a process that :meth:`start` has started.

        :param number: the signal that asks for it.
        :param patience: the seconds after which the process is killed.
        :returns: its exit status.
        """
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
        status = process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        if process in self._processes:
            self._processes.remove(process)
        return status

    def tap(self, name: str, interface: str) -> socket.socket:
        """:returns: a socket that gets a copy of each frame that an interface in a namespace sends or receives."""
        found = self._socket(name, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        found.bind((interface, _ALL_PROTOCOLS))
        return found

    def _socket(self, name: str, *kind: int) -> socket.socket:
        """:returns: a socket in a namespace that does not block."""
        made: list[socket.socket] = []

        def make() -> None:
            # A thread of its own enters the namespace and ends there, so that this one need not come back.
            with open(f"/run/netns/{self.prefix}{name}") as namespace:
                if _libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket(*kind))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        [found] = made
        found.setblocking(False)
        return found

    def socket(self, name: str, address: str = "", port: int = 0) -> socket.socket:
        """:returns: a UDP socket in a namespace, bound and not blocking; IPv6 if the address is."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found = self._socket(name, family, socket.SOCK_DGRAM)
        found.bind((address, port))
        return found
