"""What runs the tests of pages; ``make browser`` runs the tests themselves."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import npm
from benchmarks.sockets import PACKAGES
from tests.browser import __main__ as browser

HERE = Path(browser.__file__).parent


class BrowserTests(SynchronousTestCase):
    """The program."""

    def outcome(self, *words: str, **environment: str) -> tuple[int, str]:
        """:returns: its exit status, and what it has written to the standard error."""
        error = io.StringIO()
        environ = {name: value for name, value in os.environ.items() if name not in ("CI", "CHROMIUM")}
        with patch.dict(os.environ, environ | environment, clear=True), patch.object(sys, "stderr", error):
            return browser.main(words), error.getvalue()

    def test_machine_without_a_browser_skips_with_a_reason(self) -> None:
        """Without chromium nothing is run, and it says what to install."""
        status, said = self.outcome(PATH="/nowhere")
        self.assertEqual(status, 0)
        self.assertEqual(said, "The tests of pages were skipped: there is no chromium (Debian: chromium)\n")

    def test_ci_without_a_browser_fails(self) -> None:
        """Where nothing may go unchecked, a missing browser is a failure."""
        status, said = self.outcome(PATH="/nowhere", CI="true")
        self.assertEqual(status, 1)
        self.assertIn("cannot be run: there is no chromium", said)

    def test_machine_without_node_skips_with_a_reason(self) -> None:
        """The browser alone is not enough."""
        status, said = self.outcome(PATH="/nowhere", CHROMIUM="/bin/true")
        self.assertEqual(status, 0)
        self.assertIn("Node.js is not installed", said)

    def test_unknown_name_is_an_error(self) -> None:
        """A name that is no file of tests is refused, with the names that there are."""
        error = self.assertRaises(ValueError, browser.files, ["peerjs", "netscape"])
        self.assertRegex(str(error), "no such tests: netscape; there are .*peerjs.*y-webrtc")
        self.assertEqual(browser.files(["peerjs"]), [str(HERE / "peerjs.test.js")])

    def test_pages_that_are_held_to_seconds_run_alone(self) -> None:
        """Others run together, and each file is run once."""
        planned = browser.commands([])
        asked = [word for command in planned for word in command if word.endswith(browser.SUFFIX)]
        self.assertEqual(sorted(asked), sorted(browser.files([])))
        for command in planned:
            alone = [name for name in browser.ALONE if str(HERE / f"{name}.test.js") in command]
            self.assertEqual("--test-concurrency=1" in command, bool(alone))
        self.assertEqual(len(browser.commands(["peerjs"])), 1)

    def test_status_is_that_of_the_tests(self) -> None:
        """Tests that fail make the program fail."""
        self.assertEqual(browser.run(["false"], 10.0), 1)
        self.assertEqual(browser.run(["true"], 10.0), 0)

    def test_time_is_bounded(self) -> None:
        """Tests that hang are ended, with what they have started, and count as failed."""
        pid = Path(self.mktemp())
        began = time.monotonic()
        with patch.object(sys, "stderr", io.StringIO()) as error:
            status = browser.run(["sh", "-c", f"echo $$ > {pid}; sleep 60; true"], 0.3)
        self.assertEqual(status, 1)
        self.assertIn("took longer", error.getvalue())
        self.assertLess(time.monotonic() - began, 10)
        self.assertRaises(ProcessLookupError, os.killpg, int(pid.read_text()), 0)


class PackagesTests(SynchronousTestCase):
    """What is installed from npm, for tests and for benchmarks."""

    def test_versions_are_exact(self) -> None:
        """Each package is named with one version, so that each run is of the same clients."""
        for directory in (HERE, PACKAGES):
            named = json.loads((directory / "package.json").read_text())["dependencies"]
            for package, version in named.items():
                self.assertRegex(version, r"\A[0-9]+\.[0-9]+\.[0-9]+\Z", package)

    def test_lock_files_agree_and_name_no_registry(self) -> None:
        """A lock file has a checksum of each package, and leaves the address to the registry that is set."""
        for directory in (HERE, PACKAGES):
            lock = json.loads((directory / "package-lock.json").read_text())
            named = json.loads((directory / "package.json").read_text())["dependencies"]
            self.assertEqual(lock["packages"][""]["dependencies"], named)
            for path, package in lock["packages"].items():
                if path:
                    self.assertIn("integrity", package, path)
                    self.assertNotIn("resolved", package, path)

    def test_npm_that_fails_is_a_reason(self) -> None:
        """What npm has said is part of the reason, and nothing counts as installed."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "package-lock.json").write_text("{")
        programs = Path(self.mktemp())
        programs.mkdir()
        for name, script in (("node", "echo v20.1.0"), ("npm", "echo 'npm error no network' >&2; exit 1")):
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        with patch.dict(os.environ, PATH=f"{programs.absolute()}:/bin"):
            self.assertEqual(npm.installed(directory), "npm could not install the packages: npm error no network")
            (programs / "node").write_text("#!/bin/sh\necho v18.19.0\n")
            self.assertEqual(npm.node(), "Node.js is older than 20: v18.19.0")
        self.assertFalse((directory / "node_modules").exists())
