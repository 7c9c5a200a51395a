"""Sphinx's configuration, and the directives that the pages need: for options, for routes, and for diagrams."""

import json
import sys
from html import escape
from http import HTTPStatus
from pathlib import Path

import attrs
from docutils.nodes import Node, literal_block, raw
from sphinx.addnodes import only
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# The checkout is what these pages describe, whatever else is installed; the drawing of diagrams is beside this file.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import diagrams

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
from rendezvous.testing import MemoryServer
from rendezvous.web.examples import EXAMPLES
from rendezvous.web.exchange import Exchange, exchange

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
html_static_path = ["_static"]
html_css_files = ["site.css"]
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


class RouteExamples(SphinxDirective):
    """``.. route-examples:: TAG`` shows the worked request to each route of a tag, and its answer."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """Make a request and an answer for each route, in an order in which they can be sent."""
        server, order = MemoryServer(), list(EXAMPLES)
        routes = [route for route in server.rendezvous.routes() if route.tag == self.arguments[0]]
        server.stop()
        if not routes:
            raise self.error(f"no route has the tag {self.arguments[0]}")
        lines: list[str] = []
        for route in sorted(routes, key=lambda route: order.index(route.example)):
            lines += ["", f".. rubric:: ``{route.method} {route.path}``", ""]
            for language, text in shown(exchange(route)):
                lines += [f".. code-block:: {language}", "", *(f"    {line}" for line in text.splitlines()), ""]
        return self.parse_text_to_nodes("\n".join(lines))


class Diagram(SphinxDirective):
    """``.. sequence:: TITLE`` and ``.. states:: TITLE`` draw their text; other formats than HTML show it."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[Node]:
        """Make the drawing."""
        text, [title] = "\n".join(self.content), self.arguments
        self.env.note_dependency(diagrams.__file__)
        try:
            drawing = (diagrams.sequence if self.name == "sequence" else diagrams.states)(text, title)
        except diagrams.DiagramError as error:
            raise self.error(str(error)) from error
        drawn, written = only(expr="html"), only(expr="not html")
        # Wide drawings are scrolled, so the keyboard must reach them.
        figure = f'<div class="diagram" tabindex="0" role="group" aria-label="{escape(title)}">{drawing}</div>'
        drawn += raw("", figure, format="html")
        written += literal_block(text, text)
        return [drawn, written]


def shown(each: Exchange) -> list[tuple[str, str]]:
    """:returns: a request and its answer as HTTP shows them, each after the language of its markup."""
    request = [f"{each.method} {each.target} HTTP/1.1", "Host: rendezvous.example"]
    request += [f"{name}: {value}" for name, value in each.headers.items()]
    if each.body is not None:
        request += ["Content-Type: application/json", "", json.dumps(each.body, indent=2)]
    answer = [f"HTTP/1.1 {each.status} {HTTPStatus(each.status).phrase}"]
    answer += [f"{name}: {value}" for name, value in each.answer_headers.items()]
    is_text = isinstance(each.answer, str)
    answer += ["", each.answer if is_text else json.dumps(each.answer, indent=2)]
    # Half a script is no script.
    return [("http", "\n".join(request)), ("text" if is_text else "http", "\n".join(answer))]


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the directives."""
    app.add_directive("server-options", ServerOptions)
    app.add_directive("route-examples", RouteExamples)
    app.add_directive("sequence", Diagram)
    app.add_directive("states", Diagram)
