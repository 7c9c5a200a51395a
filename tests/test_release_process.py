"""``make release``, on a copy of the project."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.test_peers_process import require

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "release.py"


class VersionTests(SynchronousTestCase):
    """Which versions a release may have."""

    def setUp(self) -> None:
        """Load the script as a module."""
        self.script: dict[str, Any] = runpy.run_path(str(SCRIPT))

    def test_later_version_is_taken(self) -> None:
        """In the form that PEP 440 gives it; also the one that the checkout has, for the first release."""
        for text, expected in (("1.2.0", "1.2.0"), ("v1.2", "1.2"), ("0.1.0", "0.1.0"), ("1.0rc1", "1.0rc1")):
            self.assertEqual(self.script["checked"](text, "0.1.0"), expected)

    def test_other_versions_are_refused(self) -> None:
        """An earlier one, and what is none."""
        for text in ("0.0.9", "0.1.0rc1", "next", "1.0; rm"):
            self.assertRaises(self.script["ReleaseError"], self.script["checked"], text, "0.1.0")

    def test_version_is_asked_for(self) -> None:
        """One, and not an empty one."""
        for words in ([], [""], ["1.0", "2.0"]):
            self.assertIn("VERSION=", self.script["main"](words))


class ReleaseTests(SynchronousTestCase):
    """What a release does in a checkout."""

    def setUp(self) -> None:
        """Copy the project into a checkout of its own, whose steps that take minutes are made short."""
        require(shutil.which("git"), "git")
        self.copy = Path(self.mktemp()).resolve()
        names = ("rendezvous", "changes.d", ".ci", "setup.cfg", "pyproject.toml", "CHANGES.rst")
        for name in names:
            source, target = ROOT / name, self.copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        made = "mkdir -p dist docs/_build/html; touch dist/x.whl dist/x.tar.gz docs/_build/html/index.html"
        (self.copy / "Makefile").write_text(f"docs package:\n\t@{made}\n")
        (self.copy / ".gitignore").write_text("dist\ndocs\n__pycache__\n")
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=copy")

    def git(self, *words: str) -> str:
        """:returns: what git says of the copy."""
        who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@a.example"}
        who |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@a.example"}
        done = subprocess.run(
            ["git", *words], cwd=self.copy, env={**os.environ, **who}, capture_output=True, text=True, check=True
        )
        return done.stdout

    def release(self, version: str) -> subprocess.CompletedProcess[str]:
        """:returns: the script, when it has ended."""
        command = [sys.executable, str(self.copy / ".ci" / "release.py"), version]
        return subprocess.run(command, cwd=self.copy, capture_output=True, text=True, timeout=60, check=False)

    def test_version_and_changes_are_written(self) -> None:
        """The fragments become a section of the changes; nothing is committed; dist has the documentation too."""
        require(shutil.which("towncrier", path=str(Path(sys.executable).parent)), "towncrier")
        done = self.release("7.8.9")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"7.8.9"', (self.copy / "rendezvous" / "_version.py").read_text())
        self.assertIn("7.8.9 (", (self.copy / "CHANGES.rst").read_text())
        self.assertEqual(list((self.copy / "changes.d").glob("+*")), [])
        names = sorted(path.name for path in (self.copy / "dist").iterdir())
        self.assertEqual(names, ["twisted_rendezvous-7.8.9-docs.tar.gz", "x.tar.gz", "x.whl"])
        self.assertEqual(self.git("log", "--format=%s").split(), ["copy"])

    def test_release_that_fails_leaves_the_checkout_as_it_was(self) -> None:
        """So it can be made again when what was wrong is mended."""
        require(shutil.which("towncrier", path=str(Path(sys.executable).parent)), "towncrier")
        (self.copy / "Makefile").write_text("package:\n\t@echo it is broken; exit 1\n")
        self.git("commit", "--quiet", "--all", "--message=broken")
        done = self.release("7.8.9")
        self.assertEqual(done.returncode, 1)
        self.assertIn("it is broken", done.stderr)
        self.assertEqual(self.git("status", "--porcelain"), "")
        self.assertEqual(self.git("log", "--format=%s").split(), ["broken", "copy"])

    def test_checkout_with_changes_is_refused(self) -> None:
        """And stays as it is."""
        (self.copy / "rendezvous" / "new.py").write_text("")
        done = self.release("7.8.9")
        self.assertEqual(done.returncode, 1)
        self.assertIn("changes that are not committed", done.stderr)
        self.assertNotIn('"7.8.9"', (self.copy / "rendezvous" / "_version.py").read_text())
