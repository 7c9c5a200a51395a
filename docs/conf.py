"""Sphinx's configuration, and the one directive that the pages need: a table of the server's options."""

import sys
from pathlib import Path
from typing import Any

import attrs
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# The checkout is what these pages describe, whatever else is installed.
sys.path.insert(0, str(Path(__file__).parents[1]))

from rendezvous import __version__
from rendezvous.settings import Settings, environment_name, option_name

project = "Rendezvous"
author = "The Rendezvous founders"
copyright = "The Rendezvous founders"
release = version = __version__

extensions = ["sphinx.ext.autodoc"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
# As they are written, not as they are: one default is the environment, whose values are no part of these pages.
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"{project} {release}"
exclude_patterns = ["_build"]


def default_of(option: "attrs.Attribute[Any]") -> str:
    """:returns: an option's default, in the words in which it would be given."""
    values = option.default if option.metadata["many"] else (option.default,)
    words = [f"{value:.15g}" if isinstance(value, float) else str(value) for value in values]
    return f"``{' '.join(words)}``" if any(words) else "none"


class ServerOptions(SphinxDirective):
    """``.. server-options::`` lists every option of the server, as :class:`rendezvous.settings.Settings` has it."""

    def run(self) -> list[Node]:
        """Make the table."""
        rows = [("Option", "In the environment", "Default", "Meaning")]
        rows += [
            (
                f"``--{option_name(option)}``",
                f"``{environment_name(option)}``",
                default_of(option),
                option.metadata["help"].replace("--", r"\--").replace("*", r"\*"),
            )
            for option in attrs.fields(Settings)
        ]
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in rows:
            lines += [f"   {'*' if not number else ' '} - {cell}" for number, cell in enumerate(row)]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the directive."""
    app.add_directive("server-options", ServerOptions)
