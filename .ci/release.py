"""
Make a release: its version, its changes, wheel, sdist and documentation.

Usage: ``python .ci/release.py VERSION``, in a clean checkout. Nothing is committed, tagged or uploaded.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
VERSION_FILE = ROOT / "rendezvous" / "_version.py"
DIST = ROOT / "dist"


class ReleaseError(Exception):
    """What keeps a release from being made, as a sentence."""


def run(*command: str) -> str:
    """
    Run a command in the checkout.

    :returns: what it printed.
    :raises ReleaseError: it fails.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command)} fails:\n{done.stdout}{done.stderr}")
    return done.stdout


def version_of(text: str) -> str:
    """:returns: the version that a file states."""
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    assert match is not None, text
    return match[1]


def checked(text: str, now: str) -> str:
    """
    :param text: the version of the release.
    :param now: the version of the last one.
    :returns: the version as PEP 440 writes it.
    :raises ReleaseError: it is no version, or not a later one.
    """
    try:
        version = Version(text)
    except InvalidVersion:
        raise ReleaseError(f"{text!r} is not a version: give one such as VERSION=1.2.0") from None
    if version < Version(now):
        raise ReleaseError(f"{version} is before {now}, the version of the checkout")
    return str(version)


def set_version(version: str) -> None:
    """Write the version where everything reads it."""
    text = VERSION_FILE.read_text(encoding="utf-8")
    VERSION_FILE.write_text(text.replace(f'"{version_of(text)}"', f'"{version}"'), encoding="utf-8")


def pack_documentation(version: str) -> Path:
    """
    Build the documentation, warnings being errors, and pack it.

    :returns: the archive.
    """
    run("make", "--no-print-directory", "docs")
    name = f"twisted_rendezvous-{version}-docs"
    archive = DIST / f"{name}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(ROOT / "docs" / "_build" / "html", name)
    return archive


def build(version: str) -> None:
    """
    Write the version and the changes, and build everything.

    :raises ReleaseError: something fails.
    """
    set_version(version)
    run(str(Path(sys.executable).parent / "towncrier"), "build", "--yes", "--version", version)
    # It builds wheel and sdist into an empty directory, and checks both.
    print(run("make", "--no-print-directory", "package").strip())
    pack_documentation(version)


def release(text: str) -> None:
    """
    Make the release.

    :raises ReleaseError: it cannot be made; the message says why, and the checkout is as before.
    """
    if run("git", "status", "--porcelain"):
        raise ReleaseError("the checkout has changes that are not committed: commit them first")
    version = checked(text, version_of(VERSION_FILE.read_text(encoding="utf-8")))
    try:
        build(version)
    except ReleaseError:
        # Nothing else had changed.
        run("git", "reset", "--hard", "--quiet")
        raise
    print(*sorted(path.name for path in DIST.iterdir()), sep="\n")
    print(
        f"Read CHANGES.rst, then: git commit --all --message 'Release {version}' && git tag --annotate v{version}"
        f" --message {version}, and upload dist."
    )


def main(words: list[str]) -> str | None:
    """:returns: what is wrong, or ``None``."""
    if len(words) != 1 or not words[0]:
        return "give the version of the release: make release VERSION=1.2.0"
    try:
        release(words[0])
    except ReleaseError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
