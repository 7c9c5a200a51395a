"""Packages of npm, as a lock file names them. Nothing of them is part of the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

__all__ = ["OLDEST_NODE", "installed", "node"]

#: The oldest version of Node.js that the packages are for.
OLDEST_NODE = 20


def node() -> str:
    """:returns: why nothing can be installed or run; an empty string if it can."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        return "Node.js is not installed (Debian: nodejs and npm)"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v([0-9]+)\.", said)
    if found is None or int(found[1]) < OLDEST_NODE:
        return f"Node.js is older than {OLDEST_NODE}: {said.strip()}"
    return ""


def installed(directory: Path) -> str:
    """
    Install what the lock file of a directory names, unless that is done.

    No package runs a script of its own while it is installed.

    :returns: why that could not be done; an empty string if it is done.
    """
    reason = node()
    if reason:
        return reason
    lock, stamp = directory / "package-lock.json", directory / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return ""
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if run.returncode:
        lines = [line for line in (run.stderr + run.stdout).splitlines() if "error" in line]
        return f"npm could not install the packages: {' '.join(lines[:3]) or run.stderr[-300:]}"
    stamp.write_bytes(lock.read_bytes())
    return ""
