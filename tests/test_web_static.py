"""The client module for pages and the demo page, as the server sends them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin

import rendezvous
from rendezvous.testing import Response
from tests._web_case import WebTestCase

STATIC = Path(rendezvous.__file__).parent / "web" / "static"
DEMO = STATIC / "demo"
SCRIPT = "text/javascript; charset=utf-8"

#: Elements without an end.
VOID = {"link", "meta", "input", "img", "br"}

#: Contrast of text, and of the borders of fields and the rings of focus (WCAG 2.2, 1.4.3 and 1.4.11).
OF_TEXT, OF_BORDERS = 4.5, 3.0


class FileTests(WebTestCase):
    """What all files have in common, by the example of the client module."""

    path = "/rendezvous.js"

    def tag(self) -> str:
        """:returns: the entity tag of the file."""
        return self.ask("GET", self.path).headers["etag"]

    def test_file_is_sent(self) -> None:
        """As it is, with its type, and to be asked for again each time."""
        response = self.ask("GET", self.path)
        self.assertEqual((response.status, response.headers["content-type"]), (200, SCRIPT))
        self.assertEqual(response.body, (STATIC / "rendezvous.js").read_bytes())
        self.assertEqual(response.headers["content-length"], str(len(response.body)))
        self.assertEqual(response.headers["cache-control"], "no-cache")
        self.assertEqual(response.headers["x-content-type-options"], "nosniff")

    def test_types_are_sent(self) -> None:
        """Beside the module."""
        response = self.ask("GET", "/rendezvous.d.ts")
        self.assertEqual(response.headers["content-type"], "application/typescript; charset=utf-8")
        self.assertEqual(response.body, (STATIC / "rendezvous.d.ts").read_bytes())

    def test_copy_that_is_the_same_is_not_sent_again(self) -> None:
        """Whatever form the tag comes back in: in a list, or marked as weak by a proxy."""
        tag = self.tag()
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            response = self.ask("GET", self.path, None, {"If-None-Match": known})
            self.assertEqual((response.status, response.body), (304, b""), known)
            self.assertEqual(response.headers["etag"], tag)

    def test_copy_that_is_another_one_is_replaced(self) -> None:
        """Also if its tag begins as that of the file does."""
        tag = self.tag()
        for known in ('"other"', tag[:-2] + '"', tag.strip('"'), ""):
            response = self.ask("GET", self.path, None, {"If-None-Match": known})
            self.assertEqual(response.status, 200, known)
            self.assertGreater(len(response.body), 1000)

    def test_files_have_different_tags(self) -> None:
        """A tag is made of the content."""
        tags = {self.ask("GET", path).headers["etag"] for path in (self.path, "/rendezvous.d.ts", "/demo")}
        self.assertEqual(len(tags), 3)

    def test_head(self) -> None:
        """Has the headers of the file, and no body."""
        expected, response = self.ask("GET", self.path), self.ask("HEAD", self.path)
        self.assertEqual((response.status, response.body), (200, b""))
        for name in ("content-type", "content-length", "etag"):
            self.assertEqual(response.headers[name], expected.headers[name])

    def test_pages_of_other_origins_may_load_the_module(self) -> None:
        """An import of another origin is a request of CORS."""
        response = self.ask("GET", self.path, None, {"Origin": "https://app.example"})
        self.assertEqual(response.headers["access-control-allow-origin"], "*")


class DemoCase(WebTestCase):
    """The demo page."""

    def page(self) -> Response:
        """:returns: the page itself."""
        response = self.ask("GET", "/demo")
        self.assertEqual(response.status, 200)
        return response


class DemoRouteTests(DemoCase):
    """Its routes."""

    def test_policy_lets_nothing_in_from_elsewhere(self) -> None:
        """No inline script or style, no other server, no frame, no form that is sent; no names of referrers."""
        headers = self.page().headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        self.assertEqual(
            policy,
            {
                "default-src": "'none'",
                "script-src": "'self'",
                "style-src": "'self'",
                "img-src": "'self' blob:",
                "connect-src": "'self'",
                "base-uri": "'none'",
                "form-action": "'none'",
                "frame-ancestors": "'none'",
                "require-trusted-types-for": "'script'",
            },
        )
        self.assertEqual(headers["referrer-policy"], "no-referrer")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["permissions-policy"], "camera=(self), microphone=(self), geolocation=()")
        self.assertEqual(headers["content-type"], "text/html; charset=utf-8")

    def test_every_file_of_the_folder_is_sent(self) -> None:
        """With a type that browsers take for what it is, because they may not guess."""
        types = {".js": SCRIPT, ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
        names = {path.name for path in DEMO.iterdir()} - {"index.html"}
        self.assertGreater(len(names), 4)
        for name in names:
            response = self.ask("GET", f"/demo/{name}")
            self.assertEqual((response.status, response.body), (200, (DEMO / name).read_bytes()), name)
            self.assertEqual(response.headers["content-type"], types[Path(name).suffix])
            self.assertEqual(response.headers["x-content-type-options"], "nosniff")

    def test_nothing_else_is_sent(self) -> None:
        """Neither the page under another name, nor what is outside of the folder."""
        for name in ("", "index.html", "none.js", "..%2Frendezvous.js", "%2E%2E", "demo.js/", "demo.js%00", "%FF"):
            self.refused(404, "no-such-path", "GET", f"/demo/{name}")


class OffTests(WebTestCase):
    """``--without demo``."""

    settings = {"without": ("demo",)}  # noqa: RUF012

    def test_no_demo(self) -> None:
        """But the module is there."""
        for path in ("/demo", "/demo/demo.js"):
            self.refused(404, "no-such-path", "GET", path)
        self.assertEqual(self.ask("GET", "/rendezvous.js").status, 200)


class WithoutOffersTests(WebTestCase):
    """``--without offers``."""

    settings = {"without": ("offers",)}  # noqa: RUF012

    def test_no_demo(self) -> None:
        """It finds its peers by offers."""
        self.refused(404, "no-such-path", "GET", "/demo")


class Elements(HTMLParser):
    """
    The elements of a page.

    :ivar found: their names and attributes, each with the names of those around it.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.words: list[tuple[str, str]] = []
        self._around: list[str] = []
        self.feed(text)
        self.close()
        assert not self._around, self._around

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found.append((tag, dict(attrs), list(self._around)))
        if tag not in VOID:
            self._around.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        assert self._around.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        if data.strip():
            self.words.append((self._around[-1], data.strip()))


class PageTests(DemoCase):
    """What the page consists of."""

    def setUp(self) -> None:
        """Read it."""
        super().setUp()
        self.elements = Elements(self.page().body.decode("utf-8"))

    def test_nothing_is_inline(self) -> None:
        """The policy would not let it run."""
        for name, attributes, _ in self.elements.found:
            self.assertNotEqual(name, "style")
            self.assertTrue(name != "script" or attributes.get("src"), attributes)
            self.assertFalse([key for key in attributes if key == "style" or key.startswith("on")], attributes)

    def test_links_lead_to_files_that_are_sent(self) -> None:
        """Below any prefix: each is relative to the page's path."""
        links = [
            link
            for _, attributes, _ in self.elements.found
            for link in (attributes.get("src"), attributes.get("href"))
            if link
        ]
        self.assertEqual(len(links), 4)
        for link in links:
            path = urljoin("https://app.example/prefix/demo", link).removeprefix("https://app.example/prefix")
            self.assertEqual(self.ask("GET", path).status, 200, link)

    def test_modules_that_scripts_import_are_sent(self) -> None:
        """Relative to the script."""
        imported = {
            urljoin("/demo/", link)
            for path in DEMO.glob("*.js")
            for link in re.findall(r'^import .* from "([^"]+)"$', path.read_text("utf-8"), re.MULTILINE)
        }
        self.assertIn("/rendezvous.js", imported)
        for path in imported:
            self.assertEqual(self.ask("GET", path).status, 200, path)

    def test_scripts_name_elements_that_there_are(self) -> None:
        """By their ids, each of which the page has once."""
        ids = [attributes["id"] for _, attributes, _ in self.elements.found if "id" in attributes]
        self.assertEqual(len(ids), len(set(ids)))
        scripts = "".join(path.read_text("utf-8") for path in DEMO.glob("*.js"))
        named = set(re.findall(r'(?:getElementById|\belement)\("([\w-]+)"\)', scripts))
        self.assertGreater(len(named), 20)
        self.assertEqual(named - set(ids), set())

    def test_scripts_make_no_html_of_texts(self) -> None:
        """What peers send is shown as text."""
        for path in DEMO.glob("*.js"):
            self.assertIsNone(
                re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", path.read_text("utf-8"))
            )

    def test_fields_have_labels(self) -> None:
        """For screen readers; the field of files is opened by a button."""
        for name, attributes, around in self.elements.found:
            if name in ("input", "select", "textarea") and attributes.get("type") != "file":
                self.assertIn("label", around, attributes)

    def test_regions_have_names_and_news_is_announced(self) -> None:
        """Each section is named by its title; the state, errors and the log are live regions."""
        by_id = {attributes["id"]: name for name, attributes, _ in self.elements.found if "id" in attributes}
        sections = [attributes for name, attributes, _ in self.elements.found if name == "section"]
        self.assertEqual(len(sections), 4)
        for attributes in sections:
            self.assertEqual(by_id[attributes["aria-labelledby"] or ""], "h2")
        roles = {
            attributes.get("id"): attributes["role"] for _, attributes, _ in self.elements.found if "role" in attributes
        }
        notices = {"incomplete": "alert", "token-problem": "alert"}
        self.assertEqual(roles, {"state": "status", "copied": "status", "log": "log", **notices})

    def test_page_has_a_language_a_title_and_the_width_of_phones(self) -> None:
        """And follows the theme of the system."""
        names = {attributes.get("name"): attributes.get("content") for name, attributes, _ in self.elements.found}
        self.assertEqual(names["viewport"], "width=device-width, initial-scale=1")
        self.assertEqual(names["color-scheme"], "light dark")
        self.assertEqual(self.elements.found[0][:2], ("html", {"lang": "en"}))
        self.assertIn(("title", "Rendezvous demo"), self.elements.words)


class ColourTests(DemoCase):
    """The colours of both themes can be read."""

    def themes(self) -> list[dict[str, str]]:
        """:returns: the colours of the light theme, and those of the dark one, by name."""
        style = (DEMO / "demo.css").read_text("utf-8")
        blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
        self.assertEqual(len(blocks), 2)
        return [dict(re.findall(r"--([\w-]+): #(\w+);", block)) for block in blocks]

    def test_contrast(self) -> None:
        """Of each text to what it stands on, and of borders to what is around them."""
        texts = [(text, ground) for text in ("text", "faint") for ground in ("page", "card", "own")]
        texts += [(text, ground) for text in ("accent", "good", "warn", "bad") for ground in ("card", "page")]
        texts += [("on-accent", "accent"), ("card", "warn")]
        for theme in self.themes():
            for text, ground in texts:
                self.assertGreaterEqual(contrast(theme[text], theme[ground]), OF_TEXT, (text, ground, theme))
            self.assertGreaterEqual(contrast(theme["faint"], theme["card"]), OF_BORDERS)

    def test_both_themes_have_the_same_colours(self) -> None:
        """None is forgotten."""
        for light, dark in pairwise(self.themes()):
            self.assertEqual(set(light), set(dark))


def contrast(one: str, other: str) -> float:
    """:returns: the contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """:returns: the relative luminance of a colour of three or six hex digits, from 0 to 1."""
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
