"""Sphinx's configuration, and the one directive that the pages need: a list of the server's options."""

import sys
from pathlib import Path

import attrs
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# The checkout is what these pages describe, whatever else is installed.
sys.path.insert(0, str(Path(__file__).parents[1]))

from rendezvous import __version__
from rendezvous.settings import (
    CONFIG,
    CONFIG_HELP,
    CONFIG_VARIABLE,
    Settings,
    default_text,
    environment_name,
    option_name,
)

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


def escaped(text: str) -> str:
    """:returns: a text of the settings, in which nothing is markup."""
    return text.replace("--", r"\--").replace("*", r"\*").replace("^", r"\^")


class ServerOptions(SphinxDirective):
    """``.. server-options::`` lists every option of the server, as :class:`rendezvous.settings.Settings` has it."""

    def run(self) -> list[Node]:
        """Make the list."""
        lines = [
            f"``--{CONFIG}``",
            f"    {escaped(CONFIG_HELP[0].upper() + CONFIG_HELP[1:])}.",
            "",
            f"    Environment: ``{CONFIG_VARIABLE}``.",
            "",
        ]
        for field in attrs.fields(Settings):
            help, default = field.metadata["help"], default_text(field)
            lines += [f"``--{option_name(field)}``", f"    {escaped(help[0].upper() + help[1:])}.", ""]
            facts = [f"Environment: ``{environment_name(field)}``."]
            facts += [f"Default: ``{default}``."] if default else []
            facts += ["A reload changes it."] if field.metadata["reloadable"] else []
            lines += [f"    {' '.join(facts)}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the directive."""
    app.add_directive("server-options", ServerOptions)
