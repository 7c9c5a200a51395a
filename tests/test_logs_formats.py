"""Tests of the formats of the log, of the bound on its lines, and of where they go."""

from __future__ import annotations

import ast
import io
import json
import os
import sys
import syslog
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from twisted.logger import LogEvent, Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.logs.limiting import KINDS, LINES, PERIOD, TRACEBACKS, Limited
from rendezvous.logs.lines import (
    FORMATS,
    MAX_TEXT,
    MAX_TRACEBACK,
    OTHER,
    RESERVED,
    fields_of,
    json_line,
    plain_line,
    without_secrets,
)
from rendezvous.logs.places import open_log
from rendezvous.settings import Settings
from tests.test_docs import calls, is_log_call
from tests.test_settings import GRID


class _Case(SynchronousTestCase):
    """A log whose events are kept."""

    def setUp(self) -> None:
        """Keep events."""
        self.events: list[LogEvent] = []

    def logger(self, namespace: str = "rendezvous.some.Part") -> Logger:
        """:returns: the logger of a module."""
        return Logger(namespace, observer=LogPublisher(cast(Any, self.events.append)))

    def failed(self, text: str = "a fault\nof two lines") -> LogEvent:
        """:returns: the event of a bug."""
        try:
            raise RuntimeError(text)
        except RuntimeError:
            self.logger().failure("a sweep failed", event="sweep_failed")
        return self.events.pop()


class LineTests(_Case):
    """Tests of both formats."""

    def test_names_are_those_of_the_setting(self) -> None:
        """The setting takes each format, and no other."""
        self.assertEqual(set(GRID["log_format"][0]), set(FORMATS))
        self.assertIn(Settings().log_format, FORMATS)

    def test_plain_is_the_text_alone(self) -> None:
        """With neither time nor origin."""
        self.logger().info("{what} on {address}", what="HTTP", address="[::]:5025", event="listening")
        self.assertEqual(plain_line(self.events[0]), "HTTP on [::]:5025")

    def test_json_has_the_time_the_event_and_its_fields(self) -> None:
        """The fields are those in the braces of the text, as JSON values; what else the event holds is left out."""
        self.logger().warn("{family}: {counts}", family="full tables", counts={"full": 7}, event="counted", hidden="x")
        self.events[0]["log_time"] = 1700000000.25
        # What a legacy observer adds to an event is none of its fields.
        self.events[0].update(isError=0, message=(), system="-")
        self.assertEqual(
            json.loads(json_line(self.events[0])),
            {
                "time": "2023-11-14T22:13:20.250000Z",
                "level": "warn",
                "event": "counted",
                "logger": "rendezvous.some.Part",
                "message": "full tables: {'full': 7}",
                "family": "full tables",
                "counts": {"full": 7},
            },
        )

    def test_time_of_json_has_always_as_many_digits(self) -> None:
        """Also at a whole second."""
        self.logger().info("a line", event="x")
        self.events[0]["log_time"] = 1700000000.0
        self.assertEqual(json.loads(json_line(self.events[0]))["time"], "2023-11-14T22:13:20.000000Z")

    def test_event_of_a_library_has_its_text(self) -> None:
        """Its name is the same for all of them, and it has no fields."""
        self.logger("twisted.web").warn("{what} is odd", what="something")
        found = json.loads(json_line(self.events[0]))
        self.assertEqual((found["event"], found["message"]), (OTHER, "something is odd"))
        self.assertLessEqual(set(found), RESERVED)

    def test_each_event_is_one_line(self) -> None:
        """What ends lines or moves a cursor is escaped, so that a text from outside cannot look like another event."""
        for text in ("a\nb", "a\r\nb", "\x1b[2J", "\x85", "\u2028", "\x00", "\u202e", "\u2066", "\u200f", "\udc80"):
            self.logger().info("{text}", text=text, event="x")
            event = self.events.pop()
            for line in (plain_line(event), json_line(event)):
                self.assertEqual(len(line.splitlines()), 1, repr(text))
                self.assertTrue(line.isprintable(), line)
            self.assertEqual(json.loads(json_line(event))["text"], text)

    def test_value_that_json_does_not_know_is_text(self) -> None:
        """The line is written in any case."""
        self.logger().info("{value} {half}", value=Path("/x"), half="\udc80", event="x")
        self.assertEqual(json.loads(json_line(self.events[0]))["value"], "/x")

    def test_bug_comes_with_its_traceback(self) -> None:
        """Indented below the text, or as one field."""
        event = self.failed()
        lines = plain_line(event).split("\n")
        self.assertEqual(lines[:2], ["a sweep failed", "\tTraceback (most recent call last):"])
        self.assertTrue(all(line.startswith("\t") for line in lines[1:]))
        self.assertIn("RuntimeError: a fault", json.loads(json_line(event))["traceback"])

    def test_traceback_moves_no_cursor(self) -> None:
        """An exception may quote what a client has sent."""
        line = plain_line(self.failed("\x1b[2J\u2028\x00"))
        self.assertTrue(all(part[1:].isprintable() for part in line.split("\n")), line)

    def test_line_is_no_longer_than_its_bound(self) -> None:
        """Texts and values lose their end, and tracebacks their middle."""
        self.logger().info("{text}: {values}", text="x" * 10**6, values=(b"x" * 10**6,), event="x")
        event = self.events.pop()
        self.assertLess(len(plain_line(event)), MAX_TEXT + 10)
        self.assertLess(len(json_line({**event, "values": Path("x" * 10**6)})), 3 * MAX_TEXT + 300)
        event = self.failed("y" * 10**6 + " the end")
        lines = plain_line(event), json.loads(json_line(event))["traceback"]
        for line in lines:
            self.assertLess(len(line), MAX_TRACEBACK + 1000)
            self.assertIn("Traceback (most recent call last):", line)
            self.assertTrue(line.endswith(" the end"))

    def test_recursion_fits_as_well(self) -> None:
        """Its traceback has a thousand frames."""

        def again() -> None:
            again()

        try:
            again()
        except RecursionError:
            self.logger().failure("a sweep failed", event="sweep_failed")
        self.assertLess(len(plain_line(self.events.pop())), MAX_TRACEBACK + 3000)

    def test_fields_of_formats(self) -> None:
        """The names are found whatever their format is."""
        self.assertEqual(fields_of("{path}: {pause:.1f} s {other!r} {{no}}"), ("path", "pause", "other"))


class SecretTests(_Case):
    """What an exception or a library quotes of a request."""

    secrets = (
        "/signal?registration=a-token.of~mine/+=&x=1",
        "/events?x=1&ticket=6qgUkZ-_x",
        "/peerjs?key=peerjs-key&id=a&token=wpbhznmpa6",
        "Authorization: Bearer a-token.of~mine/+=",
        "{b'authorization': b'bearer a-token.of~mine/+='}",
        "key " + "0aF9" * 16,
    )

    def test_secrets_are_replaced(self) -> None:
        """In texts, in the fields of JSON, and in tracebacks."""
        words = ("a-token", "6qgUkZ", "peerjs-key", "wpbhznmpa6", "0aF9")
        for secret in self.secrets:
            self.assertTrue(any(word in secret for word in words))
            self.logger().info("{text} {thing} {map}", text=secret, thing=Path(secret), map={"x": secret}, event="x")
            self.logger("twisted.web").warn("{text}", text=secret)
            for event in (*self.events, self.failed(secret)):
                for line in (plain_line(event), json_line(event)):
                    self.assertIn("(secret)", line)
                    self.assertFalse([word for word in words if word in line], line)
            self.events.clear()

    def test_the_rest_stays(self) -> None:
        """Who has asked for what is of use."""
        self.assertEqual(without_secrets("GET /a?x=1&ticket=t&y=2 HTTP/1.1"), "GET /a?x=1&ticket=(secret)&y=2 HTTP/1.1")
        self.assertEqual(without_secrets("with Basic YTpi and Bearer  t."), "with Basic (secret) and Bearer  (secret)")
        for text in ("request 0123456789abcdef", "f" * 32, "f" * 128, "a token: b", "bearer", "the key=1"):
            self.assertEqual(without_secrets(text), text)


class EventTests(SynchronousTestCase):
    """Every event of the server."""

    def test_has_a_name_and_its_fields(self) -> None:
        """The name is a constant; the fields are those in the braces, which no other key of JSON is called."""
        for path, call in calls():
            if not is_log_call(call):
                continue
            where = f"{path}:{call.lineno}"
            [name] = [word.value for word in call.keywords if word.arg == "event"]
            assert isinstance(name, ast.Constant), where
            self.assertRegex(str(name.value), r"\A[a-z]+(_[a-z]+)*\Z", where)
            assert isinstance(call.args[0], ast.Constant), where
            fields = {str(word.arg) for word in call.keywords} - {"event"}
            self.assertEqual(fields, set(fields_of(str(call.args[0].value))), where)
            self.assertEqual(fields & RESERVED, set(), where)


class LimitedTests(_Case):
    """Tests of :class:`Limited`."""

    def setUp(self) -> None:
        """Put the bound in front of what keeps events."""
        super().setUp()
        self.limited = Limited(self.events.append)

    def send(self, count: int, now: float, text: str = "a line", **fields: Any) -> int:
        """
        Log events.

        :returns: how many were passed on.
        """
        before = len(self.events)
        for _ in range(count):
            self.limited(
                {"log_namespace": "x", "log_format": text, "log_time": now, "log_level": LogLevel.warn, **fields}
            )
        return len(self.events) - before

    def test_first_lines_of_a_minute_are_passed_on(self) -> None:
        """Up to the limit, for each kind by itself."""
        self.assertEqual(self.send(LINES, 1000.0), LINES)
        self.assertEqual(self.send(1000, 1000.0), 0)
        self.assertEqual(self.send(2, 1000.0, "another line"), 2)
        self.assertEqual(self.send(2, 1000.0, log_namespace="y"), 2)
        self.assertEqual(self.send(1, 1000.0 + PERIOD - 0.1), 0)

    def test_lines_with_a_traceback_have_a_limit_of_their_own(self) -> None:
        """They are ten times as long."""
        self.assertEqual(self.send(1000, 1000.0, log_failure=object()), TRACEBACKS)

    def test_all_that_operators_do_is_passed_on(self) -> None:
        """Nothing that one of them does is hidden behind much else that they do."""
        self.assertEqual(self.send(3 * LINES, 1000.0, event="operator_acted"), 3 * LINES)
        self.assertEqual(self.send(1, 1000.0), 1)

    def test_next_minute_begins_with_what_was_left_out(self) -> None:
        """As a warning, before the first line."""
        self.send(LINES + 7, 1000.0)
        self.send(LINES, 1000.0, "within its limit")
        before = len(self.events)
        self.send(1, 1000.0 + PERIOD)
        notice, line = self.events[before:]
        self.assertEqual(plain_line(notice), "7 more lines like this one were left out: a line")
        self.assertEqual((notice["log_level"], notice["event"]), (LogLevel.warn, "lines_left_out"))
        self.assertEqual(line["log_format"], "a line")

    def test_clock_that_is_set_back_does_not_silence_the_log(self) -> None:
        """Counting begins anew."""
        self.send(LINES + 1, 1000.0)
        self.assertEqual(self.send(1, 10.0), 2)

    def test_what_is_not_shown_is_not_counted(self) -> None:
        """The small talk of libraries is left out without a word."""
        self.assertEqual(self.send(1000, 1000.0, log_level=LogLevel.info), 0)
        self.assertEqual(self.send(1, 1000.0 + PERIOD), 1)

    def test_kinds_are_bounded(self) -> None:
        """A text from outside in a format must not make each line one of its own kind."""
        self.assertEqual(sum(self.send(1, 1000.0, f"line {number}") for number in range(5000)), KINDS + LINES)
        before = len(self.events)
        self.send(1, 1000.0 + PERIOD)
        expected = f"{5000 - KINDS - LINES} more lines like this one were left out: a line of another kind"
        self.assertEqual(plain_line(self.events[before]), expected)

    def test_event_without_a_time_or_a_text_is_counted(self) -> None:
        """Whatever a library logs."""
        for _ in range(2 * LINES):
            self.limited({"log_level": LogLevel.error})
        self.assertEqual(len(self.events), LINES)


class PlaceTests(_Case):
    """Tests of :func:`open_log`."""

    def setUp(self) -> None:
        """Take what is printed."""
        super().setUp()
        self.printed = io.StringIO()
        self.patch(sys, "stdout", self.printed)

    def say(self, name: str, environ: Mapping[str, str] = MappingProxyType({}), **twistd: Any) -> Any:
        """
        Log one event of the server and some of Twisted, in a format and with options of twistd.

        :returns: the log.
        """
        log = open_log(name, {"logfile": None, "nodaemon": 0, "syslog": 0, "prefix": "twisted", **twistd}, environ)
        for namespace in ("rendezvous.part", "twisted.web"):
            logger = Logger(namespace, observer=log.observer)
            logger.debug("a detail of {who}", who=namespace, event="detail")
            logger.info("a line of {who}", who=namespace, event="line")
        Logger("twisted.web", observer=log.observer).warn("a warning")
        return log

    def test_foreground_logs_to_standard_output(self) -> None:
        """What libraries say is left out unless it is a warning, and so are details."""
        log = self.say("plain", nodaemon=1)
        time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
        self.assertRegex(self.printed.getvalue(), rf"\A{time} a line of rendezvous.part\n{time} a warning\n\Z")
        self.assertIsNone(log.rotate)

    def test_journal_of_systemd_notes_the_time_itself(self) -> None:
        """So lines for it have none, but those of a file have."""
        journal = {"JOURNAL_STREAM": "8:12345"}
        self.say("plain", journal, nodaemon=1)
        self.assertEqual(self.printed.getvalue(), "a line of rendezvous.part\na warning\n")
        path = Path(self.mktemp())
        self.say("plain", journal, logfile=str(path))
        self.assertRegex(path.read_text(), r"\A\d{4}-")

    def test_file_has_the_time_of_each_event(self) -> None:
        """It can be rotated."""
        path = Path(self.mktemp())
        log = self.say("plain", logfile=str(path), nodaemon=1)
        lines = path.read_text().splitlines()
        self.assertRegex(lines[0], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z a line of rendezvous.part\Z")
        self.assertEqual((len(lines), self.printed.getvalue()), (2, ""))
        log.rotate()
        self.assertTrue(Path(f"{path}.1").exists())

    def test_daemon_logs_to_the_file_of_twistd(self) -> None:
        """In the directory in which it was started."""
        directory, before = self.mktemp(), Path.cwd()
        Path(directory).mkdir()
        self.addCleanup(os.chdir, before)
        os.chdir(directory)
        self.say("json")
        self.assertEqual([path.name for path in Path().iterdir()], ["twistd.log"])

    def test_file_of_json_has_objects_alone(self) -> None:
        """A line each."""
        path = Path(self.mktemp())
        self.say("json", logfile=str(path))
        events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
        self.assertEqual(events, ["line", OTHER])

    def test_dash_is_standard_output(self) -> None:
        """As in twistd."""
        self.say("json", logfile="-", nodaemon=1)
        self.assertEqual(len(self.printed.getvalue().splitlines()), 2)

    def test_syslog_has_a_message_for_each_line(self) -> None:
        """With the priority of the event, and the prefix of twistd."""
        opened: list[Any] = []
        sent: list[Any] = []
        self.patch(syslog, "openlog", lambda *args: opened.append(args))
        self.patch(syslog, "syslog", lambda *args: sent.append(args))
        self.say("plain", syslog=1, prefix="here")
        self.assertEqual(opened, [("here", syslog.LOG_PID, syslog.LOG_DAEMON)])
        self.assertEqual(sent, [(syslog.LOG_INFO, "a line of rendezvous.part"), (syslog.LOG_WARNING, "a warning")])
        log = open_log("plain", {"syslog": 1}, {})
        log.observer(self.failed())
        self.assertGreater(len(sent), 5)
        self.assertEqual({priority for priority, _ in sent[2:]}, {syslog.LOG_CRIT})
