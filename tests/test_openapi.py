"""The description of all routes: valid, complete, and true of what the server answers."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from rendezvous._version import __version__
from rendezvous.limits import MAX_INTEGER, SignalingLimits
from rendezvous.testing import Response
from rendezvous.web.examples import EXAMPLES
from rendezvous.web.openapi import describe
from rendezvous.web.parameters import HANDSHAKE
from rendezvous.web.route import Route
from tests._web_case import LIMITS, ORIGIN, Headers, WebTestCase

#: Whether a body is allowed, and the fields that are special about it.
Case = tuple[bool, dict[str, Any]]

UNKNOWN = "0" * 32
PULSE = ("198.51.100.7", 40000)


def closed(schema: Any) -> Any:
    """The same schema, of objects that have no other keys than those it lists."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: closed(value) for key, value in schema.items()}
    return {**strict, "additionalProperties": False} if "required" in schema and "properties" in schema else strict


class DescribedCase(WebTestCase):
    """A server, and its own description of itself."""

    def setUp(self) -> None:
        """Ask for the description."""
        super().setUp()
        self.document = self.good("GET", "/openapi.json")

    def is_valid(self, schema: Mapping[str, Any], value: Any) -> bool:
        """Whether a value is what a schema of the description says."""
        whole = {**schema, "components": self.document["components"]}
        return Draft202012Validator(whole).is_valid(value)

    def operation(self, method: str, path: str) -> Any:
        """What the description says of a route."""
        return self.document["paths"][path][method.lower()]

    def assertDescribed(self, method: str, path: str, response: Response) -> None:
        """Status, media type, headers and body are those of the description, and no key is missing there."""
        described = self.operation(method, path)["responses"][f"{response.status}"]
        if "$ref" in described:
            described = self.document["components"]["responses"][described["$ref"].rpartition("/")[2]]
        media, content = next(iter(described["content"].items()))
        self.assertEqual(response.headers["content-type"], media)
        for name in described.get("headers", {}):
            self.assertIn(name.lower(), response.headers)
        whole = closed({**content["schema"], "components": self.document["components"]})
        problems = [error.message for error in Draft202012Validator(whole).iter_errors(response.json())]
        self.assertEqual(problems, [], (method, path, response.body))


class DocumentTests(DescribedCase):
    """The document itself."""

    def test_it_is_openapi_3_1(self) -> None:
        """The document holds to the OpenAPI specification, and every reference leads somewhere."""
        self.assertEqual(self.document["openapi"], "3.1.0")
        self.assertEqual([error.message for error in OpenAPIV31SpecValidator(self.document).iter_errors()], [])
        components = self.document["components"]
        for reference in self.references(self.document):
            _, _, kind, name = reference.split("/")
            self.assertIn(name, components[kind])

    def references(self, value: Any) -> list[str]:
        """Every ``$ref`` in a document."""
        if isinstance(value, list):
            return [found for item in value for found in self.references(item)]
        if not isinstance(value, dict):
            return []
        inner = [found for item in value.values() for found in self.references(item)]
        return [*inner, value["$ref"]] if "$ref" in value else inner

    def test_it_has_every_route_and_nothing_else(self) -> None:
        """Methods and paths are those of the table from which requests are answered."""
        routes = self.server.rendezvous.routes()
        served = {(route.method, route.path.replace("<", "{").replace(">", "}")) for route in routes}
        described = {(method.upper(), path) for path, item in self.document["paths"].items() for method in item}
        self.assertEqual(described, served)
        self.assertIn(("GET", "/openapi.json"), served)

    def test_what_is_served_is_what_is_generated(self) -> None:
        """The answer is the description of the server's own routes and limits."""
        server = self.server.rendezvous
        self.assertEqual(self.document, json.loads(json.dumps(describe(server.routes(), server.store.limits))))
        self.assertEqual(self.document["info"]["version"], __version__)

    def test_every_operation_has_a_summary(self) -> None:
        """The summary is one plain sentence, and no two operations share an id."""
        operations = [operation for item in self.document["paths"].values() for operation in item.values()]
        for operation in operations:
            self.assertRegex(operation["summary"], r"^[A-Z][^`]*[^.]\.$")
        self.assertEqual(len({operation["operationId"] for operation in operations}), len(operations))

    def test_every_schema_and_parameter_is_used(self) -> None:
        """Nothing is described that no route has."""
        used = {tuple(reference.split("/")[2:]) for reference in self.references(self.document)}
        for kind in ("schemas", "parameters", "responses"):
            self.assertEqual([name for name in self.document["components"][kind] if (kind, name) not in used], [])

    def test_every_operation_has_a_worked_request(self) -> None:
        """Its body and its answer are what their schemas say, and the answer has no key that its schema lacks."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                example = EXAMPLES[f"{method.upper()} {path.replace('{', '<').replace('}', '>')}"]
                for content in operation.get("requestBody", {}).get("content", {}).values():
                    self.assertEqual(content["examples"], {"worked": {"value": example.body}})
                    self.assertTrue(self.is_valid(content["schema"], example.body), (method, path))
                done = [answer for status, answer in operation["responses"].items() if status in ("200", "201")]
                self.assertEqual(len(done), 0 if path == "/peerjs" else 1)
                for content in (content for answer in done for content in answer["content"].values()):
                    self.assertEqual(content["examples"], {"worked": {"value": example.answer}})
                    strict = closed({**content["schema"], "components": self.document["components"]})
                    Draft202012Validator(strict).validate(example.answer)

    def test_every_parameter_has_an_example(self) -> None:
        """It is what the schema says. Only ``next`` has none, since it means nothing without the answer it is from."""
        for name, parameter in self.document["components"]["parameters"].items():
            values = [each["value"] for each in parameter.get("examples", {}).values()]
            self.assertEqual(len(values), 0 if name == "next" else 1, name)
            self.assertEqual([value for value in values if not self.is_valid(parameter["schema"], value)], [], name)

    def test_routes_of_websockets(self) -> None:
        """A handshake is answered 101. Where there is nothing else, the headers of the handshake are required."""
        opened = {
            path for path, item in self.document["paths"].items() if "101" in item.get("get", {}).get("responses", {})
        }
        self.assertEqual(opened, {"/events", "/signal", "/peerjs"})
        for path in opened:
            self.assertLessEqual({"403", "426"}, set(self.operation("GET", path)["responses"]))
        named = [each["$ref"].rpartition("/")[2] for each in self.operation("GET", "/peerjs")["parameters"]]
        for name in HANDSHAKE:
            self.assertIn(name, named)
            self.assertTrue(self.document["components"]["parameters"][name]["required"])

    def test_links_are_relative_to_the_document(self) -> None:
        """A server below some path of a site describes itself as rightly as one at its root."""
        self.assertEqual(self.document["servers"], [{"url": "."}])

    def test_head_and_options(self) -> None:
        """``HEAD`` gives the length alone, ``OPTIONS`` lets any page ask."""
        whole, head = self.ask("GET", "/openapi.json"), self.server.start_request("HEAD", "/openapi.json")
        self.addCleanup(head.lose)
        sent = head.transport.value().lower()
        self.assertIn(b"content-length: %d\r\n" % len(whole.body), sent)
        self.assertTrue(sent.endswith(b"\r\n\r\n"))
        preflight = self.ask("OPTIONS", "/openapi.json", None, ORIGIN)
        self.assertEqual((preflight.status, preflight.headers["access-control-allow-origin"]), (204, "*"))


class GeneratorTests(SynchronousTestCase):
    """From a table to a document."""

    async def answer(self, request: Request) -> None:
        """Say ``yes``, and more. Then some."""

    def test_unknown_names_are_refused(self) -> None:
        """A route that names what does not exist is a mistake that shows at start."""
        good = Route("GET", "/", self.answer, tag="about", response="About")
        self.assertEqual(describe([good], LIMITS)["paths"]["/"]["get"]["summary"], "Say yes, and more.")
        for bad in (
            Route("GET", "/", self.answer, tag="unknown", response="About"),
            Route("GET", "/", self.answer, tag="about", response="Unknown"),
            Route("GET", "/", self.answer, tag="about", response="About", request="Unknown"),
            Route("GET", "/", self.answer, tag="about", response="About", params=("unknown",)),
            Route("GET", "/<unknown>", self.answer, tag="about", response="About", example="GET /"),
            Route("GET", "/", self.answer, tag="about", response="About", example="unknown"),
        ):
            self.assertRaises(KeyError, describe, [bad], LIMITS)

    def test_limits_are_those_given(self) -> None:
        """A limit that is turned is turned in the description."""
        route = Route("POST", "/offers", self.answer, tag="offers", response="Published", request="Publication")
        schemas = describe([route], SignalingLimits(offers_per_request=3, secret_chars=5))["components"]["schemas"]
        self.assertEqual(schemas["Publication"]["properties"]["offers"]["maxItems"], 3)
        self.assertEqual(schemas["NewOffer"]["properties"]["secret"]["maxLength"], 5)


class AnswerTests(DescribedCase):
    """What every route answers, in success and in error, is what the description says."""

    def check(
        self, status: int, method: str, path: str, body: Any = None, headers: Headers | None = None, **parts: str
    ) -> Any:
        """Send a request, see that the answer is described; give its body."""
        filled = path.format(**{name: quote(part, safe="") for name, part in parts.items()})
        response = self.ask(method, filled, body, headers)
        self.assertEqual(response.status, status, response.body)
        self.assertDescribed(method, path.partition("?")[0], response)
        self.seen.add((method, path.partition("?")[0]))
        return response.json()

    def setUp(self) -> None:
        """Note which routes have succeeded."""
        super().setUp()
        self.seen: set[tuple[str, str]] = set()

    def test_about(self) -> None:
        """The server's words about itself."""
        for path in ("/", "/health", "/ready", "/openapi.json"):
            self.check(200, "GET", path)
        self.check(200, "GET", "/?page=1", None, ORIGIN)

    def test_rendezvous(self) -> None:
        """Register, pulse, look up, verify and log out, and what can go wrong."""
        key = bytes.fromhex(self.alice["Authorization"].rpartition(":")[2])
        self.check(200, "POST", "/register")
        for path in ("/peer/{client_id}/udp", "/peer/{client_id}/udp/address"):
            self.check(404, "GET", path, None, self.bob, client_id=self.alice_id)
        self.check(200, "GET", "/peer/{client_id}/udp/status", None, self.bob, client_id=self.alice_id)
        self.server.deliver(key, PULSE)
        for path in ("/peer/{client_id}/udp", "/peer/{client_id}/udp/address", "/peer/{client_id}/udp/status"):
            self.check(200, "GET", path, None, self.bob, client_id=self.alice_id)
            self.check(404, "GET", path, None, self.bob, client_id=UNKNOWN)
            self.check(401, "GET", path, client_id=self.alice_id)
        self.check(200, "POST", "/verify", None, self.alice)
        self.check(200, "POST", "/logout", None, self.alice)
        self.check(401, "POST", "/logout", None, self.alice)
        self.check(401, "POST", "/verify", None, self.alice)
        self.advance(301)
        self.check(404, "POST", "/verify", None, self.bob)

    def test_offers(self) -> None:
        """An offer from its publication to its end, with all that can be read of it on the way."""
        spec = {"sdp": "v=0", "topics": ["a/b ☃"], "id": "x", "secret": "s"}
        self.check(200, "POST", "/offers", {"offers": [spec, {"sdp": "v=0", "topics": ["c"], "info": "i"}]}, self.alice)
        self.check(409, "POST", "/offers", {"offers": [spec]}, self.bob)
        self.check(400, "POST", "/offers", {"offers": []}, self.bob)
        self.check(415, "POST", "/offers", b"{}", {**self.bob, "Content-Type": "text/plain"})
        listing = self.check(200, "GET", "/offers/by-topic/{topic}", topic="a/b ☃")
        self.assertEqual((listing["topic"], listing["total"]), ("a/b ☃", 1))
        self.check(200, "GET", "/offers/by-topic/{topic}", topic="c")
        self.check(400, "GET", "/offers/by-topic/{topic}?limit=0", topic="c")
        self.check(200, "GET", "/peers/{peer}/offers", peer=self.alice_id)
        self.check(200, "GET", "/offers/mine", None, self.alice)
        self.check(200, "GET", "/topics?startsWith=a", None, ORIGIN)
        self.check(400, "GET", "/topics?offset=-1")
        self.check(200, "PUT", "/offers/{offer}/heartbeat", None, self.alice, offer="x")
        self.check(403, "PUT", "/offers/{offer}/heartbeat", None, self.bob, offer="x")
        self.check(404, "PUT", "/offers/{offer}/heartbeat", None, self.alice, offer="y")
        self.check(403, "DELETE", "/offers/{offer}", None, self.bob, offer="x")
        self.check(200, "GET", "/offers/mine", None, self.alice)
        self.answered()
        self.check(200, "DELETE", "/offers/{offer}", None, self.alice, offer="x")
        self.check(404, "DELETE", "/offers/{offer}", None, self.alice, offer="x")

    def answered(self) -> None:
        """Answer the offer, and trickle candidates both ways."""
        answer, trickle = "/offers/{offer}/answer", "/offers/{offer}/ice-candidates"
        self.check(403, "POST", answer, {"sdp": "v=1"}, self.bob, offer="x")
        self.check(403, "POST", trickle, {"candidates": [1]}, self.bob, offer="x")
        self.check(200, "GET", "/offers/answers", None, self.alice)
        self.check(200, "POST", answer, {"sdp": "v=1", "secret": "s"}, self.bob, offer="x")
        self.check(409, "POST", answer, {"sdp": "v=1", "secret": "s"}, self.bob, offer="x")
        self.check(404, "POST", answer, {"sdp": "v=1"}, self.bob, offer="y")
        self.check(200, "GET", "/offers/answers?wait=1", None, self.alice)
        self.check(200, "GET", "/offers/mine", None, self.alice)
        since = self.check(200, "GET", "/offers/by-topic/{topic}?since=0", topic="chess")["since"]
        self.check(200, "POST", "/offers", {"offers": [{"sdp": "v=2", "topics": ["chess"], "id": "z"}]}, self.alice)
        self.check(200, "DELETE", "/offers/{offer}", None, self.alice, offer="z")
        self.check(200, "GET", f"/offers/by-topic/{{topic}}?since={since}&wait=1", topic="chess")
        self.check(400, "GET", "/offers/by-topic/{topic}?since=x", topic="chess")
        self.check(200, "POST", trickle, {"candidates": [None, {"candidate": "c"}]}, self.bob, offer="x")
        self.check(200, "GET", trickle, None, self.alice, offer="x")
        self.check(400, "GET", trickle + "?since=x", None, self.alice, offer="x")
        for _ in range(5):
            self.check(200, "POST", trickle, {"candidates": [0] * 50}, self.bob, offer="x")
        self.check(429, "POST", trickle, {"candidates": [0] * 5}, self.bob, offer="x")

    def test_sessions(self) -> None:
        """A session from its opening to its answer."""
        spec = {"info": "i", "offer": "v=0", "code": "x"}
        self.check(200, "POST", "/{topic}/offer", spec, ORIGIN, topic="a/b")
        self.check(409, "POST", "/{topic}/offer", spec, ORIGIN, topic="a/b")
        self.check(400, "POST", "/{topic}/offer", spec, topic="a/b")
        self.check(200, "GET", "/topics?page=1", None, ORIGIN)
        self.check(400, "GET", "/topics?page=1")
        self.check(200, "GET", "/{topic}/sessions", None, ORIGIN, topic="a/b")
        self.check(400, "GET", "/{topic}/sessions", topic="a/b")
        offerer, answerer = {"code": "x", "side": "offerer"}, {"code": "x", "side": "answerer"}
        self.check(200, "POST", "/poll", offerer, ORIGIN)
        self.check(200, "POST", "/answer", {**offerer, "candidate": {"candidate": "c"}}, ORIGIN)
        self.check(200, "POST", "/poll", answerer, ORIGIN)
        self.check(403, "POST", "/answer", {**offerer, "answer": "v=1"}, ORIGIN)
        self.check(200, "POST", "/answer", {**answerer, "answer": "v=1"}, ORIGIN)
        self.check(409, "POST", "/answer", {**answerer, "answer": "v=1"}, ORIGIN)
        self.check(200, "POST", "/poll", offerer, ORIGIN)
        self.check(400, "POST", "/poll", {**offerer, "side": "both"}, ORIGIN)
        for path in ("/poll", "/answer"):
            self.check(404, "POST", path, {"code": "y", "side": "answerer", "answer": "v=1"}, ORIGIN)

    def test_connect(self) -> None:
        """What an ICE agent may use, until it asks too often."""
        for _ in range(6):
            self.check(200, "GET", "/ice", None, self.alice)
        self.check(429, "GET", "/ice", None, self.alice)
        self.check(401, "GET", "/ice")
        begin, one = "/peer/{client_id}/connect", "/attempts/{attempt}"
        host = {"kind": "host", "host": "192.168.0.2", "port": 5000}
        said = {"candidates": [host], "rtt": 40.5, "birthday": True}
        self.check(404, "POST", begin, said, self.alice, client_id=UNKNOWN)
        self.check(409, "POST", begin, said, self.alice, client_id=self.alice_id)
        attempt = self.check(201, "POST", begin, said, self.alice, client_id=self.bob_id)["attempt"]
        self.check(200, "GET", "/attempts", None, self.bob)
        self.check(400, "GET", "/attempts?since=x", None, self.bob)
        self.check(404, "GET", one, None, self.alice, attempt=UNKNOWN[:16])
        self.check(409, "POST", f"{one}/done", {"ok": True}, self.alice, attempt=attempt)
        self.check(200, "POST", f"{one}/accept", {}, self.bob, attempt=attempt)
        self.check(200, "POST", f"{one}/candidates", {"candidates": [host]}, self.alice, attempt=attempt)
        self.observed(attempt)
        self.check(200, "GET", one, None, self.alice, attempt=attempt)
        done = {"ok": True, "ms": 12.5, "via": "direct", "code": None}
        self.check(200, "POST", f"{one}/done", done, self.alice, attempt=attempt)
        self.check(409, "POST", f"{one}/accept", {}, self.bob, attempt=attempt)
        for _ in range(5):
            attempt = self.check(201, "POST", begin, {}, self.alice, client_id=self.bob_id)["attempt"]
            self.check(200, "DELETE", one, None, self.bob, attempt=attempt)
        self.check(429, "POST", begin, {}, self.alice, client_id=self.bob_id)
        attempt = self.check(201, "POST", begin, {}, self.bob, client_id=self.alice_id)["attempt"]
        self.check(200, "POST", f"{one}/accept", {}, self.alice, attempt=attempt)
        self.check(200, "POST", f"{one}/done", {"ok": False}, self.alice, attempt=attempt)

    def observed(self, attempt: str) -> None:
        """Have both ports see both sides of an attempt."""
        store, now = self.server.rendezvous.store, self.server.rendezvous.clock.seconds()
        for client, source in ((self.alice_id, PULSE), (self.bob_id, ("203.0.113.2", 5000))):
            for port in range(2):
                verb = store.observe(bytes.fromhex(client), bytes.fromhex(attempt), 1, 1, port, source, now)
                self.assertEqual(self.successResultOf(Deferred.fromCoroutine(verb)), 1020)

    def test_signal(self) -> None:
        """Without a handshake, and with one that is not good."""
        self.check(200, "GET", "/signal")
        self.check(400, "GET", "/signal", None, {"Upgrade": "websocket"})

    def test_peerjs(self) -> None:
        """What it answers over HTTP."""
        self.check(401, "GET", "/peerjs/peers")
        self.check(426, "GET", "/peerjs?key=peerjs&id=a&token=b")

    def test_tickets(self) -> None:
        """For streams; and what a stream that cannot be opened is answered."""
        self.check(200, "POST", "/events/ticket", None, self.alice)
        self.check(401, "POST", "/events/ticket")

    def test_events(self) -> None:
        """The stream has the media type that is described, and so has its refusal."""
        described = self.operation("GET", "/events")
        self.assertEqual(list(described["responses"]["200"]["content"]), ["text/event-stream"])
        stream = self.start("GET", "/events", None, self.alice)
        self.assertIn(b"content-type: text/event-stream\r\n", stream.transport.value().lower())
        upgrade = {"Upgrade": "websocket"}
        for headers, status in (({}, 401), ({**self.alice, "Last-Event-ID": "x"}, 400), (upgrade, 400)):
            self.assertDescribed("GET", "/events", self.ask("GET", "/events", None, headers))
            self.assertEqual(self.ask("GET", "/events", None, headers).status, status)

    def test_files(self) -> None:
        """Each has the media type that is described; the parts of the demo page have different ones."""
        for path in ("/rendezvous.js", "/rendezvous.d.ts", "/demo"):
            [media] = self.operation("GET", path)["responses"]["200"]["content"]
            response = self.ask("GET", path)
            self.assertEqual((response.status, response.headers["content-type"]), (200, media))
        self.assertEqual(list(self.operation("GET", "/demo/{file}")["responses"]["200"]["content"]), ["*/*"])
        self.assertDescribed("GET", "/demo/{file}", self.ask("GET", "/demo/none.js"))

    def test_every_route_has_been_tried(self) -> None:
        """The tests above reach every route that is described."""
        for test in (
            self.test_about,
            self.test_rendezvous,
            self.test_offers,
            self.test_sessions,
            self.test_connect,
            self.test_signal,
            self.test_peerjs,
            self.test_tickets,
        ):
            self.alice_id, _, self.alice = self.server.register()
            self.bob_id, _, self.bob = self.server.register()
            test()
        described = {(method.upper(), path) for path, item in self.document["paths"].items() for method in item}
        files = {("GET", "/rendezvous.js"), ("GET", "/rendezvous.d.ts"), ("GET", "/demo"), ("GET", "/demo/{file}")}
        self.assertEqual(described - self.seen, {("GET", "/events"), ("GET", "/peerjs/id"), *files})

    def test_full_server(self) -> None:
        """A full server's 503 is described, wherever something is made."""
        self.server.stop()
        self.server = type(self.server)(max_clients=1, max_offers=1)
        self.check(200, "POST", "/register")
        self.check(503, "POST", "/register")
        self.check(200, "POST", "/{topic}/offer", {"info": "", "offer": "v=0"}, ORIGIN, topic="a")
        self.check(503, "POST", "/{topic}/offer", {"info": "", "offer": "v=0"}, ORIGIN, topic="a")


class RequestTests(DescribedCase):
    """What the description allows is accepted, and what it forbids is refused."""

    def schema(self, name: str) -> Any:
        """One schema of the description."""
        return self.document["components"]["schemas"][name]

    def assertAgreed(self, schema: Any, value: Any, status: int, allowed: bool) -> None:
        """The description and the server are of one mind about a value."""
        self.assertEqual((self.is_valid(schema, value), status != 400), (allowed, allowed), f"{value!r:.200}")

    def test_offers(self) -> None:
        """Every field of a new offer at its limits and beyond, with wrong types, null, and unknown fields."""
        many = LIMITS.topics_per_offer
        cases: list[Case] = [
            (True, {"secret": None, "info": None, "id": None, "ttl": None, "unknown": 1}),
            (True, {"sdp": "x" * LIMITS.sdp_size, "secret": "", "info": ""}),
            (True, {"secret": "s" * LIMITS.secret_chars, "info": "i" * LIMITS.info_chars}),
            (True, {"id": "🎈" * LIMITS.id_chars, "topics": ["🎈" * LIMITS.topic_chars] * many}),
            (True, {"ttl": -(2**70)}),
            (True, {"ttl": 60_000.0}),
            *((False, {"sdp": sdp}) for sdp in ("", None, 1, "x" * (LIMITS.sdp_size + 1))),
            *((False, {"secret": secret}) for secret in (1, True, "s" * (LIMITS.secret_chars + 1))),
            *((False, {"info": info}) for info in (1, True, "i" * (LIMITS.info_chars + 1))),
            *((False, {"topics": topics}) for topics in (None, "a", [], [""], [1], ["a"] * (many + 1), ["x" * 257])),
            *((False, {"ttl": ttl}) for ttl in ("1", 1.5, True)),
            *((False, {"id": id}) for id in ("", ".", "..", "by-topic", "a/b", "a\\b", "a\n", "\x7f", "x" * 257, 1)),
        ]
        for allowed, fields in cases:
            body = {"offers": [{"sdp": "v=0", "topics": ["a"], **fields}]}
            status = self.ask("POST", "/offers", body, self.alice).status
            self.assertAgreed(self.schema("Publication"), body, status, allowed)

    def test_lists(self) -> None:
        """As many offers and candidates as a request may have, none, and one too many."""
        for count, allowed in ((0, False), (1, True), (10, True), (11, False)):
            body: Any = {"offers": [{"sdp": f"{number}", "topics": ["a"]} for number in range(count)]}
            status = self.ask("POST", "/offers", body, self.alice).status
            self.assertAgreed(self.schema("Publication"), body, status, allowed)
        offer = self.publish(sdp="mine")
        for count, allowed in ((0, False), (1, True), (50, True), (51, False)):
            body = {"candidates": [None] * count}
            status = self.ask("POST", f"/offers/{offer}/ice-candidates", body, self.alice).status
            self.assertAgreed(self.schema("NewCandidates"), body, status, allowed)

    def test_sessions(self) -> None:
        """Either name of the peer's name will do, and one is needed."""
        size = LIMITS.session_info_chars
        cases: list[Case] = [
            *((True, {name: "i" * length}) for name in ("info", "peerId") for length in (0, 1, size)),
            (True, {"info": "a", "peerId": "b", "code": None}),
            (True, {"info": None, "peerId": "b", "code": "🎈" * LIMITS.code_chars}),
            (False, {}),
            (False, {"info": None}),
            (False, {"info": 1}),
            (False, {"info": 1, "peerId": "b"}),
            (False, {"info": "i" * (size + 1)}),
            (False, {"info": "a", "peerId": 1}),
            (False, {"info": "a", "peerId": "i" * (size + 1)}),
            (False, {"info": "a", "code": ""}),
            (False, {"info": "a", "code": "🎈" * (LIMITS.code_chars + 1)}),
            (False, {"info": "a", "code": 1}),
            (False, {"info": "a", "offer": ""}),
        ]
        for allowed, fields in cases:
            body = {"offer": "v=0", **fields}
            status = self.ask("POST", "/a/offer", body, ORIGIN).status
            self.assertAgreed(self.schema("NewSession"), body, status, allowed)
            if "code" in fields and fields["code"] and allowed:
                self.advance(301)

    def test_answers_to_sessions(self) -> None:
        """Exactly one of answer and candidate, and null is neither."""
        for allowed, fields in (
            (True, {"answer": "v=1"}),
            (True, {"candidate": {"candidate": "c"}}),
            (True, {"candidate": False}),
            (True, {"answer": None, "candidate": "c"}),
            (True, {"answer": "v=1", "candidate": None}),
            (False, {}),
            (False, {"answer": "v=1", "candidate": "c"}),
            (False, {"candidate": None}),
            (False, {"answer": 1}),
            (False, {"answer": ""}),
            (False, {"answer": "v=1", "side": "both"}),
        ):
            body = {"code": self.open_session(), "side": "answerer", **fields}
            status = self.ask("POST", "/answer", body, ORIGIN).status
            self.assertAgreed(self.schema("AnswerToSession"), body, status, allowed)

    def test_polls(self) -> None:
        """Any number of seconds from 0 on, and any exact integer from 0 on to begin after."""
        code = self.open_session()
        cases: list[Case] = [
            *((True, {"wait": wait}) for wait in (None, 0, 0.5, 1e300)),
            *((True, {"since": since}) for since in (None, 0, 7.0, MAX_INTEGER)),
            *((False, {"wait": wait}) for wait in (-1, "1", True)),
            *((False, {"since": since}) for since in (-1, MAX_INTEGER + 1, 0.5, "0", False)),
            (False, {"side": None}),
            (False, {"code": 1}),
        ]
        for allowed, fields in cases:
            body = {"code": code, "side": "answerer", **fields}
            status = self.ask("POST", "/poll", body, ORIGIN).status
            self.assertAgreed(self.schema("Poll"), body, status, allowed)

    def test_attempts(self) -> None:
        """Candidates, numbers and flags at their bounds, with wrong types and null."""
        host: dict[str, Any] = {"kind": "host", "host": "192.168.0.2", "port": 5000}
        cases: list[Case] = [
            (True, {"candidates": None, "rtt": None, "birthday": None, "unknown": 1}),
            (True, {"candidates": [], "rtt": 0, "birthday": False}),
            (True, {"candidates": [host] * 10, "rtt": 1e300}),
            *((True, {"candidates": [{**host, **fields}]}) for fields in ({"port": 1}, {"kind": "relayed"})),
            (True, {"candidates": [{**host, "kind": "mapped", "port": 65535.0}]}),
            (False, {"candidates": [host] * 11}),
            *((False, {"candidates": value}) for value in ({"a": 1}, "x", [1], [None])),
            *((False, {"candidates": [{**host, "port": port}]}) for port in (0, 65536, "1", 1.5, True, None)),
            *((False, {"candidates": [{**host, "kind": kind}]}) for kind in ("predicted", "", 1, None)),
            *((False, {"candidates": [{**host, "host": value}]}) for value in (1, None, "", "x")),
            *((False, {"candidates": [{**host, "host": value}]}) for value in ("256.0.0.1", "1.2.3", "1::2::3")),
            *((False, {"candidates": [{**host, "host": value}]}) for value in (":1", "1:2", "12345::", "fe80::1%a")),
            *((True, {"candidates": [{**host, "host": value}]}) for value in ("::", "1::", "::1", "1:2:3:4:5:6:7:8")),
            *((True, {"candidates": [{**host, "host": value}]}) for value in ("1::8", "1:2::7:8", "255.255.255.255")),
            *((False, {"rtt": rtt}) for rtt in (-1, "1", True)),
            *((False, {"birthday": value}) for value in (1, "true")),
        ]
        for allowed, fields in cases:
            response = self.ask("POST", f"/peer/{self.bob_id}/connect", fields, self.alice)
            self.assertAgreed(self.schema("NewAttempt"), fields, response.status, allowed)
            if response.status == 201:
                self.ask("DELETE", f"/attempts/{response.json()['attempt']}", None, self.alice)

    def test_outcomes(self) -> None:
        """What a side may say at the end."""
        for allowed, fields in (
            (True, {"ok": True}),
            (True, {"ok": False, "ms": 0.5, "via": "relay", "code": "x"}),
            (True, {"ok": True, "ms": None, "via": None, "code": None}),
            (False, {}),
            (False, {"ok": None}),
            (False, {"ok": 1}),
            (False, {"ok": True, "via": "air"}),
            (False, {"ok": True, "via": 1}),
            (False, {"ok": True, "ms": -1}),
            (False, {"ok": True, "code": 1}),
        ):
            made = self.ask("POST", f"/peer/{self.bob_id}/connect", {}, self.alice)
            if made.status == 429:
                self.advance(60)
                made = self.ask("POST", f"/peer/{self.bob_id}/connect", {}, self.alice)
            attempt = made.json()["attempt"]
            self.good("POST", f"/attempts/{attempt}/accept", {}, self.bob)
            response = self.ask("POST", f"/attempts/{attempt}/done", fields, self.alice)
            self.assertAgreed(self.schema("Outcome"), fields, response.status, allowed)
            self.ask("DELETE", f"/attempts/{attempt}", None, self.alice)

    def test_numbers_in_queries(self) -> None:
        """Paging numbers and moments at their bounds; a wait in any spelling that JSON has for numbers."""
        self.publish()
        offer = self.publish(sdp="other", id="x")
        self.answer(offer)
        for path, name, numbers, wrong in (
            ("/topics", "limit", (1, 10**30), (0, -1)),
            ("/topics", "offset", (0, MAX_INTEGER), (-1, MAX_INTEGER + 1)),
            ("/topics?page=1", "offset", (0, MAX_INTEGER), (-1, MAX_INTEGER + 1)),
            ("/topics", "page", (1, MAX_INTEGER), (0, MAX_INTEGER + 1)),
            ("/offers/by-topic/a", "limit", (1, 10**30), (0, -1)),
            ("/offers/answers", "since", (0, MAX_INTEGER), (-1, MAX_INTEGER + 1)),
            ("/offers/answers", "wait", (0, 0.5, 1e-7, 1.5e300, 10**12), (-1, -0.5)),
        ):
            schema = self.document["components"]["parameters"][name]["schema"]
            mark = "&" if "?" in path else "?"
            for number in (*numbers, *wrong):
                response = self.ask("GET", f"{path}{mark}{name}={quote(str(number))}", None, {**ORIGIN, **self.alice})
                self.assertAgreed(schema, number, response.status, number in numbers)

    def test_the_longest_filter_fits_in_a_request(self) -> None:
        """A filter of the limit is read beside the longest topic, and one of a byte more is refused in words."""
        schema = self.document["components"]["parameters"]["bloom"]["schema"]
        topic = quote("🎈" * LIMITS.topic_chars)
        for size, allowed in ((1, True), (LIMITS.bloom_size, True), (LIMITS.bloom_size + 1, False), (0, False)):
            filter = base64.b64encode(random.Random(size).randbytes(size)).decode()
            response = self.ask("GET", f"/offers/by-topic/{topic}?bloom={quote(filter, safe='')}")
            self.assertAgreed(schema, filter, response.status, allowed)
