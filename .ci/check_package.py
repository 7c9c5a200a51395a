"""
Prove that what we ship works where nothing of this checkout can help it.

``python .ci/check_package.py DIST``: looks into the wheel and the sdist in that directory, installs the wheel into an
empty environment in a temporary directory, starts ``twistd rendezvous`` there, talks to it over HTTP and UDP, and stops
it the way Ctrl-C does. Uses the standard library only. The exit status is 0 if all of it went well.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 30.0
STOP_SECONDS = 15.0
ON_TIME = (1020).to_bytes(4, "big")
SDIST_CONTENTS = (
    "CHANGES.rst",
    "CONTRIBUTING.rst",
    "LICENSE",
    "Makefile",
    "README.rst",
    "benchmarks/c/load.c",
    "deploy/Dockerfile",
    "deploy/systemd/rendezvous.service",
    "docs/conf.py",
    "docs/index.rst",
    "tests/test_packaging.py",
    "twisted/plugins/rendezvous_plugin.py",
)


class PackageError(Exception):
    """Something about the package is wrong; the message says what."""


def require(condition: bool, complaint: str) -> None:
    """
    Insist on something.

    :raises PackageError: if the condition does not hold.
    """
    if not condition:
        raise PackageError(complaint)


def only(directory: Path, pattern: str) -> Path:
    """
    Find the one file that matches.

    :raises PackageError: if there is none, or more than one.
    """
    found = list(directory.glob(pattern))
    require(len(found) == 1, f"{directory} should have one {pattern}, and has {len(found)}")
    return found[0].resolve()


def check_wheel(wheel: Path) -> None:
    """
    See that the wheel carries the plugin, the type marker, every schema file and every file for web pages, and nothing
    else of Twisted's.

    :raises PackageError: if it does not.
    """
    names = set(zipfile.ZipFile(wheel).namelist())
    in_twisted = sorted(name for name in names if name.startswith("twisted/"))
    require(in_twisted == ["twisted/plugins/rendezvous_plugin.py"], f"the wheel has {in_twisted} below twisted/")
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    require(tops == {"rendezvous", "twisted"}, f"the wheel has {sorted(tops)} at its top level")
    package = Path("rendezvous")
    files = [*package.glob("**/*.sql"), *filter(Path.is_file, package.glob("**/static/**/*"))]
    require(len({file.parent for file in files}) > 2, "run this in the checkout")
    wanted = ["rendezvous/py.typed", *map(str, files)]
    missing = [name for name in wanted if name not in names]
    require(not missing, f"the wheel lacks {missing}")


def check_sdist(sdist: Path) -> None:
    """
    See that the sdist carries the documentation, the tests and the README.

    :raises PackageError: if it does not.
    """
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = [name for name in SDIST_CONTENTS if name not in names]
    require(not missing, f"the sdist lacks {missing}")
    litter = sorted(name for name in names if name.endswith((".pyc", "dropin.cache")) or "_build" in name)
    require(not litter, f"the sdist has {litter}")


def environment() -> dict[str, str]:
    """Our own environment without what would lead Python back to the checkout or configure the server."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RENDEZVOUS_", "COVERAGE_")) and name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }


def run(directory: Path, *command: str | Path) -> str:
    """
    Run a command and return what it printed.

    :raises PackageError: if it fails.
    """
    done = subprocess.run(
        command, cwd=directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    require(done.returncode == 0, f"{' '.join(map(str, command))} failed:\n{done.stdout}")
    return done.stdout


def fetch(url: str, method: str) -> dict[str, Any]:
    """
    Ask the server, past any proxy.

    :returns: the decoded JSON body.
    :raises OSError: if nobody answers, or not with success.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, method=method), timeout=5) as response:
        body: dict[str, Any] = json.load(response)
        return body


def wait_until_up(server: subprocess.Popen[bytes], output: Path) -> tuple[int, int]:
    """
    Wait until the server says where it listens, and answers ``GET /health`` there.

    :returns: its TCP port and its UDP port.
    :raises PackageError: if it ends first, or takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        require(server.poll() is None, f"twistd ended with status {server.returncode} instead of serving")
        found = [re.search(rf"\b{what} on \S+:([0-9]+)[,\n]", output.read_text()) for what in ("HTTP", "UDP")]
        if found[0] and found[1]:
            health = fetch(f"http://127.0.0.1:{found[0][1]}/health", "GET")
            require(health.get("status") == "ok", f"GET /health answered {health}")
            return int(found[0][1]), int(found[1][1])
        time.sleep(0.1)
    raise PackageError(f"the server did not listen within {START_SECONDS:g} s")


@contextmanager
def serving(directory: Path, twistd: Path, *options: str) -> Iterator[tuple[int, int]]:
    """
    Keep ``twistd rendezvous`` running for a while, then stop it as Ctrl-C does; its output goes to ``output``.

    The system chooses the ports: one that was free a moment ago may be in use by now.

    :returns: its TCP port and its UDP port.
    :raises PackageError: if it does not start, or does not stop cleanly.
    """
    command = [str(twistd), "-n", "rendezvous", "--http-port", "0", "--udp-port", "0", *options]
    output = directory / "output"
    with output.open("wb") as sink:
        server = subprocess.Popen(command, cwd=directory, env=environment(), stdout=sink, stderr=subprocess.STDOUT)
    try:
        yield wait_until_up(server, output)
        server.send_signal(signal.SIGINT)
        status = server.wait(STOP_SECONDS)
        # Having shut down, twistd passes on the signal that stopped it, as shells expect.
        require(status in (0, -signal.SIGINT), f"twistd ended with status {status}")
    except (PackageError, OSError, subprocess.TimeoutExpired) as error:
        raise PackageError(f"{error}\n{output.read_text(errors='replace')}") from error
    finally:
        server.kill()
        server.wait()


def talk(http_port: int, udp_port: int) -> None:
    """
    Register over HTTP, and send one pulse.

    :raises PackageError: if an answer is not what the protocol says.
    :raises OSError: if there is none.
    """
    client = fetch(f"http://127.0.0.1:{http_port}/register", "POST")
    require(len(client.get("client_id", "")) == 32, f"POST /register answered {sorted(client)}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as pulses:
        pulses.settimeout(5)
        pulses.sendto(bytes.fromhex(client["private_id"]), ("127.0.0.1", udp_port))
        answer = pulses.recv(64)
    require(answer == ON_TIME, f"a pulse was answered with {answer!r}")


def check_log(output: str) -> None:
    """
    See that the server shut down without trouble.

    :raises PackageError: if the log says otherwise.
    """
    require("the server has stopped" in output, f"the log does not say that the server has stopped:\n{output}")
    require("Traceback" not in output, f"the log has a traceback:\n{output}")


def check_installation(directory: Path, wheel: Path) -> None:
    """
    Install the wheel in an empty environment below a directory, and use the server there.

    :raises PackageError: if anything is not as it should be.
    """
    binaries = directory / "venv" / "bin"
    venv.create(directory / "venv", with_pip=True, symlinks=True)
    run(directory, binaries / "python", "-m", "pip", "install", "--quiet", wheel)
    help_text = run(directory, binaries / "twistd", "--help")
    listed = any(line.split()[:1] == ["rendezvous"] for line in help_text.splitlines())
    require(listed, f"twistd --help does not list rendezvous:\n{help_text}")
    with serving(directory, binaries / "twistd") as ports:
        talk(*ports)
    check_log((directory / "output").read_text())


def main(dist: Path) -> str | None:
    """
    Check everything.

    :returns: what is wrong, or ``None``.
    """
    try:
        wheel = only(dist, "*.whl")
        check_wheel(wheel)
        check_sdist(only(dist, "*.tar.gz"))
        with tempfile.TemporaryDirectory(prefix="rendezvous-") as directory:
            check_installation(Path(directory), wheel)
    except PackageError as error:
        return str(error)
    print(f"{wheel.name} installs, lists, starts, answers and stops")
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
