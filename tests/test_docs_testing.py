"""The examples of the page about the simulated network print what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests._rst import code_blocks

PAGE = Path(__file__).parents[1] / "docs" / "testing.rst"


class TestingPageTests(SynchronousTestCase):
    """``docs/testing.rst``."""

    def test_examples_print_what_the_page_says(self) -> None:
        """Each of them, in order."""
        page = PAGE.read_text(encoding="utf-8")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            for block in code_blocks(page):
                exec(block.text, {"__name__": "example"})  # noqa: S102 - it is our page
        said = re.findall(r"[Tt]his prints\s+``(.+?)``", page)
        self.assertEqual((printed.getvalue().splitlines(), len(said)), (said, 2))
