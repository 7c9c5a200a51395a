"""``rendezvous-admin`` in the process of the tests."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.commands.admin.main import main

__all__ = ["NOW", "AdminCase"]

NOW = 1_700_000_000.0


class AdminCase(SynchronousTestCase):
    """
    The program, at :data:`NOW`.

    :ivar environ: its environment.
    """

    environ: Mapping[str, str] = os.environ

    def admin(self, *words: str) -> tuple[int, str, str]:
        """:returns: the exit status, what was printed, and what was complained of."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(words, clock=lambda: NOW, environ=self.environ)
            except SystemExit as e:
                status = int(e.code or 0)
        return status, out.getvalue(), err.getvalue()

    def good(self, *words: str) -> str:
        """:returns: what was printed, all having gone well."""
        status, out, err = self.admin(*words)
        self.assertEqual((status, err), (0, ""))
        return out

    def refusal(self, *words: str) -> str:
        """:returns: the one line of a mistake."""
        status, out, err = self.admin(*words)
        self.assertEqual((status, out, err.count("\n")), (1, "", 1), err)
        self.assertTrue(err.startswith("rendezvous-admin"), err)
        return err
