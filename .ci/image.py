"""
Do what ``deploy/Dockerfile`` says, without Docker, and run the image: as ``make image`` does.

The base image is a bare Debian that ``debootstrap`` makes, in which ``buildah`` follows the Dockerfile. Both need root.
pip trusts the certificates that this machine trusts, as the network may have a certificate authority of its own.
``IMAGE_OPTIONS`` is passed on to ``buildah build``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from check_package import PackageError, require, talk

ROOT = Path(__file__).parents[1]
SUITE = "bookworm"
BASE, IMAGE = "localhost/rendezvous-base", "localhost/rendezvous"
DATA = "/var/lib/rendezvous"

#: Megabytes that the image may have beyond its base.
LARGEST = 120

#: Seconds within which a server in a container starts and stops.
PATIENCE = 60.0


class Buildah:
    """``buildah`` with images and containers below a directory of its own."""

    def __init__(self, directory: Path) -> None:
        places = [f"--root={directory}/store", f"--runroot={directory}/run", "--storage-driver=vfs"]
        self._command = ["buildah", *places]

    def __call__(self, *words: str) -> str:
        """
        Run a command.

        :returns: what it printed.
        :raises PackageError: it fails.
        """
        done = subprocess.run([*self._command, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        require(done.returncode == 0, f"buildah {words[0]} fails:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """:returns: a command that goes on running."""
        return subprocess.Popen(
            [*self._command, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def make_base(buildah: Buildah, directory: Path) -> int:
    """
    Make the base image.

    :returns: its size in megabytes.
    """
    tree = directory / "base"
    subprocess.run(["debootstrap", "--variant=minbase", SUITE, str(tree)], stdout=subprocess.DEVNULL, check=True)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(tree), "/")
    buildah("commit", "--quiet", container, BASE)
    return size_of(tree)


def trust(directory: Path) -> list[str]:
    """:returns: options that give pip in the image the certificates of this machine."""
    found = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or ""
    if not Path(found).is_file():
        return []
    settings = directory / "pip.conf"
    settings.write_text("[global]\ncert = /run/trusted.pem\n", encoding="utf-8")
    return [f"--volume={Path(found).resolve()}:/run/trusted.pem:ro", f"--volume={settings}:/etc/pip.conf:ro"]


def size_of(tree: Path) -> int:
    """:returns: the megabytes of a directory."""
    found = subprocess.run(["du", "-smx", str(tree)], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


def check_config(config: dict[str, Any]) -> None:
    """
    See that the image says what an orchestrator needs.

    :raises PackageError: it does not.
    """
    require(config["User"] not in ("", "0", "root"), f"the image runs as {config['User']!r}")
    require(list(config["Volumes"]) == [DATA], f"the volumes are {config['Volumes']}")
    ports = {"5025/tcp", "5024/udp", "5026/udp"}
    require(set(config["ExposedPorts"]) == ports, f"the ports are {config['ExposedPorts']}")
    require(config["Healthcheck"]["Test"][0] == "CMD", "there is no health check")


@dataclass
class Running:
    """A server in a container: its process, and the ports that the system chose for it."""

    process: int = 0
    http_port: int = 0
    udp_port: int = 0

    def hear(self, event: dict[str, Any]) -> bool:
        """
        Take in a line of its log.

        :returns: whether all is known.
        """
        if event["event"] == "server_started":
            self.process = event["process"]
        elif event["event"] == "listening":
            setattr(self, f"{event['what'].lower()}_port", int(event["address"].rpartition(":")[2]))
        return bool(self.process and self.http_port and self.udp_port)


@contextmanager
def serving(buildah: Buildah, container: str, config: dict[str, Any]) -> Iterator[Running]:
    """Run the image as its own command does, on free ports."""
    command = [*config["Entrypoint"], "--http-port=0", "--udp-port=0"]
    running = buildah.start("run", "--isolation=chroot", container, "--", *command)
    try:
        assert running.stdout is not None
        found = Running()
        if not any(found.hear(json.loads(line)) for line in running.stdout):
            raise PackageError(f"the server did not start:\n{running.communicate(timeout=PATIENCE)[1]}")
        yield found
        running.communicate(timeout=PATIENCE)
    finally:
        running.kill()


def check_running(buildah: Buildah, container: str, config: dict[str, Any]) -> None:
    """
    Run the server in a container, twice with the same data.

    :raises PackageError: it does not serve, is not healthy, or does not stop.
    """
    port = 0

    def check_health() -> None:
        health = ["env", f"RENDEZVOUS_HTTP_PORT={port}", *config["Healthcheck"]["Test"][1:]]
        buildah("run", "--isolation=chroot", container, "--", *health)

    for _ in range(2):
        with serving(buildah, container, config) as server:
            port = server.http_port
            require(Path(f"/proc/{server.process}").stat().st_uid != 0, "the server runs as root")
            check_health()
            talk(server.http_port, server.udp_port)
            os.kill(server.process, signal.SIGTERM)
    try:
        check_health()
    except PackageError:
        return
    raise PackageError("a server that has stopped is healthy")


def main() -> str | None:
    """
    Check everything.

    :returns: what is wrong, or ``None``.
    """
    for program in ("buildah", "debootstrap"):
        if shutil.which(program) is None or os.geteuid():
            return f"this needs root, and {program} (Debian: {program})"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        buildah = Buildah(Path(name))
        try:
            base = make_base(buildah, Path(name))
            options = [*trust(Path(name)), *shlex.split(os.environ.get("IMAGE_OPTIONS", ""))]
            build = ["build", "--isolation=chroot", "--network=host", "--format=docker", f"--build-arg=BASE={BASE}"]
            buildah(*build, *options, "--file=deploy/Dockerfile", f"--tag={IMAGE}", ".")
            config = json.loads(buildah("inspect", "--type=image", IMAGE))["Docker"]["config"]
            check_config(config)
            container = buildah("from", IMAGE)
            size = size_of(Path(buildah("mount", container))) - base
            require(size <= LARGEST, f"the image adds {size} MB to its base")
            check_running(buildah, container, config)
            buildah("umount", container)
        except PackageError as error:
            return str(error)
    print(
        f"the image builds, adds {size} MB to its base, serves, is healthy and stops ({time.monotonic() - began:.0f} s)"
    )
    return None


if __name__ == "__main__":
    sys.exit(main())
