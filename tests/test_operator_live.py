"""What the dashboard shows as it happens: curves, rates, the log, the overview, and the stream of updates."""

from __future__ import annotations

import json
from typing import Any

import orjson

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import Unavailable
from rendezvous.operator.live import KEEP_ALIVE, MAX_STREAMS
from rendezvous.operator.logtail import MAX_CHARS, MAX_LINES, LogTail
from rendezvous.operator.overview import Overview
from rendezvous.operator.sampler import GAUGES, INTERVAL, TOTALS, Sampler
from rendezvous.operator.service import OperatorService
from rendezvous.testing import Connection, MemoryReactor, MemoryServer
from tests._operator_case import OperatorCase

MEDIA = "text/javascript; charset=utf-8"


class HistoryTests(OperatorCase):
    """Curves and rates."""

    def test_all_names_are_there_from_the_start(self) -> None:
        """With one sample, and without rates."""
        found = self.get("/history")
        self.assertEqual(set(found["series"]), {*GAUGES, *TOTALS})
        self.assertEqual(set(found["rates"]), set(TOTALS))
        self.assertEqual(found["rates"]["pulses"], {"1m": None, "10m": None, "1h": None})
        self.assertEqual((len(found["times"]), found["interval"]), (1, INTERVAL))

    def test_what_happens_is_in_the_curves(self) -> None:
        """Each thing moves its own number."""
        server = self.server
        registered = server.request("POST", "/register").json()
        client = {"Authorization": f"Bearer {registered['client_id']}:{registered['private_id']}"}
        server.deliver(bytes.fromhex(registered["private_id"]))
        server.deliver(b"nothing that is known")
        published = server.request("POST", "/offers", {"offers": [{"sdp": "v=0", "topics": ["t"]}]}, client).json()
        other = server.request("POST", "/register").json()
        second = {"Authorization": f"Bearer {other['client_id']}:{other['private_id']}"}
        answered = server.request("POST", f"/offers/{published['offers'][0]['id']}/answer", {"sdp": "v=0"}, second)
        self.assertEqual(answered.status, 200)
        server.reactor.advance(2 * INTERVAL)
        found = self.get("/history")
        last = {name: values[-1] for name, values in found["series"].items()}
        self.assertEqual((last["clients_online"], last["clients_registered"], last["offers"]), (1, 1, 1))
        grown = {name: sum(v or 0 for v in found["series"][name]) * INTERVAL for name in TOTALS}
        expected = {"registrations": 2, "pulses": 1, "dropped": 1, "publications": 1, "answers": 1, "requests": 4}
        self.assertEqual({name: round(grown[name], 2) for name in expected}, expected)
        self.assertEqual(found["rates"]["registrations"]["1h"], 0.2)

    def test_curves_end_after_fifteen_minutes(self) -> None:
        """Rates go on over an hour."""
        self.server.request("POST", "/register")
        self.server.reactor.advance(1800)
        found = self.get("/history")
        self.assertEqual(len(found["times"]), 181)
        self.assertEqual(found["rates"]["registrations"]["1m"], 0.0)
        self.assertAlmostEqual(found["rates"]["registrations"]["1h"], 1 / 1800, 4)
        self.assertEqual(found["times"][-1] - found["times"][0], 900.0)

    def test_store_that_fails_once(self) -> None:
        """It is logged, and sampled again."""
        store, sampled = self.server.rendezvous.store, self.get("/history")["times"]
        figures = store.figures

        def fail() -> Any:
            raise ValueError("for this test")

        self.patch(store, "figures", fail)
        self.server.reactor.advance(INTERVAL)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.patch(store, "figures", figures)
        self.server.reactor.advance(INTERVAL)
        self.assertEqual(len(self.get("/history")["times"]), len(sampled) + 1)


class OverviewTests(OperatorCase):
    """What the server is and does now."""

    def test_overview(self) -> None:
        """Numbers of everything, and whether it is ready."""
        self.server.request("POST", "/register")
        self.server.reactor.advance(INTERVAL)
        found = self.get("/overview")
        self.assertEqual(found["clients"], {"registered": 1, "online": 0, "late": 0})
        self.assertEqual(found["tables"]["clients"]["entries"], 1)
        self.assertLess({"attempts", "bans", "connections", "offers", "sockets", "waiting"}, set(found["tables"]))
        self.assertEqual((found["draining"], found["ready"], found["saving"]), (False, True, None))
        self.assertEqual(found["time"] - found["started"], INTERVAL)
        # The clock of this test goes on by a second at a time, so a timer of half a second is late by as much.
        self.assertEqual(found["reactor_delay"], 0.5)

    def test_store_that_does_not_answer(self) -> None:
        """The server is not ready then, as load balancers see it."""

        def fail() -> None:
            raise Unavailable("for this test")

        self.patch(self.server.rendezvous.store, "check_ready", fail)
        self.assertFalse(self.get("/overview")["ready"])
        self.assertEqual(self.server.request("GET", "/ready").status, 503)


class SavingTests(SynchronousTestCase):
    """A store with a file."""

    def overview(self, reactor: MemoryReactor, path: str) -> Any:
        """:returns: what a server on this file says about it; one client registers, and the server stops."""
        server = MemoryServer(reactor, store=f"sqlite:{path}")
        server.request("POST", "/register")
        parts = server.rendezvous._parts()
        found = Deferred.fromCoroutine(Overview(parts, Sampler(parts)).read())
        server.stop()
        return self.successResultOf(found)["saving"]

    def test_how_it_is_saved(self) -> None:
        """And what was read back, if there was a server before."""
        reactor, path = MemoryReactor(), self.mktemp()
        first = self.overview(reactor, path)
        self.assertGreater(first.pop("size"), 0)
        self.assertEqual(first, {"is_failing": False, "backlog": 0, "waiting": 0, "failed": 0, "restored": None})
        reactor.advance(60)
        again = self.overview(reactor, path)
        self.assertEqual(again["restored"], {"pause": 60.0, "clients": 1, "offers": 0, "tracker_peers": 0})


def events(connection: Connection) -> list[tuple[str, Any]]:
    """:returns: the events that a connection has received; a comment is one without a name."""
    _, _, data = connection.transport.value().partition(b"\r\n\r\n")
    text = ""
    while data:
        size, _, rest = data.partition(b"\r\n")
        text, data = text + rest[: int(size, 16)].decode(), rest[int(size, 16) + 2 :]
    found = []
    for block in filter(None, text.split("\n\n")):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event", ""), json.loads(fields["data"]) if "data" in fields else None))
    return found


class StreamTests(OperatorCase):
    """The stream of updates."""

    def test_figures_and_overview_at_once_and_with_each_sample(self) -> None:
        """A page has something to show from the start."""
        stream = self.open("GET", "/updates")
        head = stream.transport.value().partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
        for field in (b"content-type: text/event-stream", b"cache-control: no-store", b"x-accel-buffering: no"):
            self.assertIn(field, head)
        self.assertEqual([name for name, _ in events(stream)], ["figures", "overview"])
        self.server.reactor.advance(2 * INTERVAL + 1)
        self.assertEqual([name for name, _ in events(stream)], ["figures", "overview"] * 3)
        figures = events(stream)[-2][1]
        self.assertEqual(set(figures["rates"]), set(TOTALS))
        self.assertLessEqual(set(figures["values"]), {*GAUGES, *TOTALS})

    def test_lines_of_the_log(self) -> None:
        """Those after the one that is known, within a second."""
        stream = self.open("GET", "/updates")
        self.server.rendezvous.log.warn("something happened")
        self.server.reactor.advance(1)
        said = [data["text"] for name, data in events(stream) if name == "log"]
        self.assertEqual(said, ["something happened"])
        again = self.open("GET", "/updates?after=0")
        self.assertIn("something happened", [data["text"] for name, data in events(again) if name == "log"])

    def test_lines_of_a_run_before(self) -> None:
        """They are not counted as lost, and all lines of this run are new."""
        self.server.rendezvous.log.warn("something happened")
        found = self.get("/log?after=7")
        self.assertEqual((found["lost"], found["lines"][-1]["seq"]), (0, found["next"]))
        self.assertEqual(found["lines"], self.get("/log")["lines"])

    def test_lines_after_one_that_is_known(self) -> None:
        """Those that are new; of those that are kept no longer, how many there were."""
        first = self.get("/log")["next"]
        for number in range(3):
            self.server.rendezvous.log.warn("line {number}", number=number)
        found = self.get(f"/log?after={first + 1}")
        self.assertEqual([line["text"] for line in found["lines"]], ["line 1", "line 2"])
        self.assertEqual((found["next"], found["lost"]), (first + 3, 0))
        self.assertEqual(self.get(f"/log?after={first + 3}"), {"lines": [], "next": first + 3, "lost": 0})
        for number in range(MAX_LINES):
            self.server.rendezvous.log.warn("line {number}", number=number)
        found = self.get(f"/log?after={first + 1}")
        self.assertEqual((len(found["lines"]), found["lost"]), (MAX_LINES, 2))
        self.assertEqual(self.get("/log")["lost"], 0)

    def test_nothing_new_is_said_now_and_then(self) -> None:
        """So that no proxy closes the stream, also if nothing is sampled."""
        stream = self.open("GET", "/updates")
        self.patch(self.server.rendezvous, "running", False)
        (operators,) = (child for child in self.server.rendezvous.services if isinstance(child, OperatorService))
        for child in operators:
            if isinstance(child, Sampler):
                child.stopService()
                self.addCleanup(child.startService)
        self.server.reactor.advance(KEEP_ALIVE + 1)
        self.assertEqual([name for name, _ in events(stream)], ["figures", "overview", ""])

    def test_number_of_streams_is_bounded(self) -> None:
        """One more is refused, and there is room again when one ends."""
        streams = [self.open("GET", "/updates") for _ in range(MAX_STREAMS)]
        self.assertEqual([name for name, _ in events(streams[-1])], ["figures", "overview"])
        refused = self.ask("GET", "/updates")
        self.assertEqual((refused.status, refused.json()["code"]), (503, "full-streams"))
        streams[0].lose()
        self.server.reactor.advance(0)
        self.assertEqual([name for name, _ in events(self.open("GET", "/updates"))], ["figures", "overview"])

    def test_head_ends_at_once(self) -> None:
        """And takes no place."""
        self.assertEqual(self.ask("HEAD", "/updates").status, 200)

    def test_all_of_it_needs_the_token(self) -> None:
        """Nothing is learned without it."""
        for path in ("/updates", "/history", "/log", "/overview"):
            self.assertEqual(self.ask("GET", path, authorization="Bearer wrong").status, 401, path)


class PageTests(OperatorCase):
    """The dashboard's files."""

    def test_they_need_no_token(self) -> None:
        """All that the page names is there, and nothing else."""
        page = self.ask("GET", "/", authorization=None)
        self.assertEqual(page.status, 200)
        for name in ("dashboard.js", "dashboard.css", "icon.svg"):
            self.assertIn(f"dashboard/{name}".encode(), page.body)
            self.assertEqual(self.ask("GET", f"/dashboard/{name}", authorization=None).status, 200)
        for path in ("/dashboard/", "/dashboard/other.js", "/dashboard/index.html", "/dashboard", "/index.html"):
            self.assertEqual(self.ask("GET", path, authorization=None).status, 401, path)
            refused = self.ask("GET", path)
            self.assertEqual((refused.status, refused.json()["code"]), (404, "no-such-path"), path)

    def test_every_import_is_served(self) -> None:
        """Each module that a module names is one of the files."""
        found, left = set(), {"dashboard.js"}
        while left:
            name = left.pop()
            found.add(name)
            response = self.ask("GET", f"/dashboard/{name}", authorization=None)
            self.assertEqual((response.status, response.headers["content-type"]), (200, MEDIA), name)
            body = response.body.decode()
            named = {line.rsplit('"./', 1)[1].rstrip('"') for line in body.splitlines() if line.startswith("import")}
            left |= named - found
        self.assertGreater(len(found), 8)

    def test_policy(self) -> None:
        """Nothing inline, nothing of elsewhere, no frame, and no text that becomes markup."""
        page = self.ask("GET", "/", authorization=None)
        policy = page.headers["content-security-policy"]
        for rule in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'none'", "trusted-types 'none'"):
            self.assertIn(rule, policy)
        self.assertNotIn("unsafe", policy)
        text = page.body.decode()
        self.assertNotRegex(text, r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=|https?://")

    def test_only_reading_is_public(self) -> None:
        """Other methods need the token, also where the page is."""
        self.assertEqual(self.ask("POST", "/", {}, authorization=None).status, 401)


class LogTailTests(SynchronousTestCase):
    """The last lines of the log."""

    def setUp(self) -> None:
        """Begin with none."""
        self.publisher = LogPublisher()
        self.tail = LogTail(publisher=self.publisher)
        self.tail.startService()
        self.addCleanup(self.tail.stopService)

    def say(self, text: str, system: str = "rendezvous.test", level: Any = LogLevel.info, **fields: Any) -> None:
        """Log a line."""
        event = {"log_format": text, "log_namespace": system, "log_level": level, "log_time": 5.0, **fields}
        self.publisher(event)

    def texts(self, seq: int = 0) -> list[str]:
        """:returns: what the lines say."""
        return [line.text for line in self.tail.after(seq)]

    def test_what_is_kept(self) -> None:
        """What the server says, and warnings of others."""
        self.say("ours")
        self.say("detail", level=LogLevel.debug)
        self.say("of a library", system="twisted.web")
        self.say("warning of a library", system="twisted.web", level=LogLevel.warn)
        self.publisher({"log_format": "without a level"})
        self.assertEqual(self.texts(), ["ours", "warning of a library"])
        ours, other = self.tail.after(0)
        self.assertEqual((ours.level, ours.system, ours.time), ("info", "rendezvous.test", 5.0))
        self.assertEqual((other.level, other.system), ("warn", "twisted.web"))

    def test_event_without_a_level_or_a_time(self) -> None:
        """It counts as information."""
        self.tail({"log_format": "ours", "log_namespace": "rendezvous.test"})
        [line] = self.tail.after(0)
        self.assertEqual((line.level, line.time, line.text), ("info", 0.0, "ours"))

    def test_number_and_length_are_bounded(self) -> None:
        """The latest lines stay, and their numbers go on."""
        for number in range(MAX_LINES + 10):
            self.say("{number} {rest}", number=number, rest="x" * 10_000)
        lines = self.tail.after(0)
        self.assertEqual((len(lines), lines[0].seq, lines[-1].seq), (MAX_LINES, 11, MAX_LINES + 10))
        self.assertEqual({len(line.text) for line in lines}, {MAX_CHARS})
        self.assertEqual(len(self.tail.after(MAX_LINES)), 10)
        self.assertEqual(self.tail.after(MAX_LINES + 10), [])

    def test_number_of_before_a_restart(self) -> None:
        """Everything is new then."""
        self.say("first")
        self.assertEqual(self.texts(1000), ["first"])

    def test_restarted_server_goes_on_with_greater_numbers(self) -> None:
        """A reader who knows lines of before gets all of the new ones, also when there are more than before."""
        later = LogTail(1000, self.publisher)
        self.assertEqual(later.after(0), [])
        later.startService()
        self.addCleanup(later.stopService)
        for text in ("one", "two"):
            self.say(text)
        for known in (0, 1, 1000):
            self.assertEqual([line.seq for line in later.after(known)], [1001, 1002], known)
        self.assertEqual([line.text for line in later.after(1001)], ["two"])

    def test_keys_and_controls(self) -> None:
        """A private key is never shown, whoever has logged it, and no line moves a cursor."""
        self.say("{said}", said="key " + "aB" * 32 + " \x1b[2J\n\x00\u202eend")
        self.assertEqual(self.texts(), ["key (secret) [2J end"])
        self.say("{said}", said="id " + "ab" * 16)
        self.assertEqual(self.texts(1), ["id " + "ab" * 16])

    def test_halves_of_characters(self) -> None:
        """A name of a file may have some; no JSON has them, and one such line would hide all others."""
        self.say("{said}", said="before \ud800\udc80 after")
        self.assertEqual(self.texts(), ["before after"])
        orjson.dumps(self.texts())

    def test_failure(self) -> None:
        """Its type and message, without the traceback."""
        try:
            raise ValueError("so it is")
        except ValueError:
            self.say("it failed", level=LogLevel.critical, log_failure=Failure())
        self.assertEqual(self.texts(), ["it failed: ValueError: so it is"])

    def test_event_that_cannot_be_formatted(self) -> None:
        """It does no harm."""
        self.say("{missing}")
        self.assertEqual(len(self.texts()), 1)

    def test_after_the_end(self) -> None:
        """Nothing more is kept."""
        self.tail.stopService()
        self.say("too late")
        self.assertEqual(self.texts(), [])
        self.tail.startService()
