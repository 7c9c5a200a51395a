"""
Do what ``docs/howto/debian.rst`` says, command by command, in an empty Debian: as ``make debian`` does.

``debootstrap`` makes the Debian, below which the commands run in namespaces of their own: it needs root. systemd does
not run there. ``debian_systemctl`` stands in for it, and starts the server as the unit says. What systemd makes of the
rest of the unit is for ``tests/test_systemd_process.py``.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check_package import PackageError, require

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests._rst import code_blocks  # noqa: E402

PAGE = ROOT / "docs" / "howto" / "debian.rst"
SUITE = "bookworm"
COPY = "/root/rendezvous"

#: Seconds for each of the two parts.
PATIENCE = 600.0

#: Run before the blocks of a section: what the page says in words, or what this machine stands in for.
BEFORE = {"Protect it with TLS": "echo 127.0.0.1 rendezvous.example >>/etc/hosts"}
#: The page says that numbers are there a minute later.
WAIT = "sleep 25"

#: What the second part has to print, in this order.
EXPECTED = (
    '"status":"ready"',
    "syntax is ok",
    '"status":"ready"',
    "rules found",
    '"job":"rendezvous"},"value":[',
    ',"1"]',
    '"status":"registered"',
    "up for",
    "CLIENT",
)


class Debian:
    """
    An empty Debian.

    :param tree: its root directory.
    """

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        subprocess.run(["debootstrap", "--variant=minbase", SUITE, str(tree)], stdout=subprocess.DEVNULL, check=True)
        # A temporary directory is closed to the users of the services.
        tree.chmod(0o755)
        shutil.copy("/etc/resolv.conf", tree / "etc" / "resolv.conf")
        # Nothing starts by itself when it is installed.
        self.put("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
        self.put("usr/local/bin/systemctl", (Path(__file__).parent / "debian_systemctl").read_text(encoding="utf-8"))
        # The network may have a certificate authority of its own.
        trusted = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or ""
        if Path(trusted).is_file():
            shutil.copy(trusted, tree / "root" / "trusted.pem")
            self.put("etc/pip.conf", "[global]\ncert = /root/trusted.pem\n")

    def put(self, name: str, text: str) -> None:
        """Write a program."""
        (self._tree / name).write_text(text, encoding="utf-8")
        (self._tree / name).chmod(0o755)

    def copy_project(self) -> None:
        """Give it a copy of what is committed."""
        copy = self._tree / COPY.lstrip("/")
        copy.mkdir(parents=True)
        packed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "--extract", "--directory", str(copy)], input=packed, check=True)

    def run(self, script: str, *namespaces: str) -> str:
        """
        Run a script in the copy of the project. What it has started ends with it.

        :returns: what it printed.
        :raises PackageError: a command of it fails.
        """
        (self._tree / "root" / "script").write_text(f"set -eux\ncd {COPY}\n{script}", encoding="utf-8")
        loopback = "ip link set lo up && " if namespaces else ""
        clean = "env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive"
        inner = f'{loopback}mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev"'
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *namespaces, "sh", "-c"]
        done = subprocess.run(
            [*command, f'{inner} && exec chroot "$0" {clean} bash /root/script', str(self._tree)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
        )  # fmt: skip
        require(done.returncode == 0, f"the page does not work:\n{done.stdout[-4000:]}")
        return done.stdout


def scripts() -> tuple[str, str]:
    """:returns: the commands of the section that installs, and those of all others."""
    installing, others = [], []
    for block in code_blocks(PAGE.read_text(encoding="utf-8")):
        if block.language == "shell" and block.section == "Install":
            # What a container may not set is no mistake of the page.
            installing.append(block.text.replace("sysctl --system", "sysctl --system || true"))
        elif block.language == "shell":
            others += [BEFORE.get(block.section, ":"), WAIT if "/api/v1/query" in block.text else ":", block.text]
    return "\n".join(installing), "\n".join(others)


def main() -> str | None:
    """
    Follow the page.

    :returns: what is wrong, or ``None``.
    """
    if shutil.which("debootstrap") is None or os.geteuid():
        return "this needs root, and debootstrap (Debian: debootstrap)"
    began = time.monotonic()
    installing, others = scripts()
    with tempfile.TemporaryDirectory(prefix="debian-") as name:
        try:
            debian = Debian(Path(name))
            debian.copy_project()
            debian.run(installing)
            said = debian.run(others, "--net")
            at = 0
            for words in EXPECTED:
                found = said.find(words, at)
                require(found >= 0, f"{words!r} is missing in what the page prints:\n{said[at:][-4000:]}")
                at = found + len(words)
        except PackageError as error:
            return str(error)
    print(f"the page for Debian leads to a server that is watched ({time.monotonic() - began:.0f} s)")
    return None


if __name__ == "__main__":
    sys.exit(main())
