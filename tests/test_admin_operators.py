"""``rendezvous-admin`` with a server that runs: what it asks, what it prints, and how it fails."""

from __future__ import annotations

import functools
import json
import os
import ssl
import time
from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.commands.admin import verbs
from rendezvous.commands.admin.port import Port
from rendezvous.commands.admin.tables import delay, moment, plain, rate, size, span, table
from tests._admin_case import NOW, AdminCase
from tests._operator_fake import OVERVIEW, RATES, FakeConnection, FakePort

ID = "ab" * 16
CLIENT = {
    "client_id": ID,
    "state": "online",
    "network": "198.51.100.7",
    "host": "198.51.100.7",
    "port": 40000,
    "last_seen": NOW - 12,
}
LINE = {"seq": 4, "time": NOW, "level": "warn", "system": "rendezvous.test", "text": "a line\x1b[2J"}
TOKEN = "a-token-of-operators-for-tests-0123456789"


class ServerCase(AdminCase):
    """The program in this process, and a server that is made up."""

    environ: dict[str, str]

    def setUp(self) -> None:
        """Make a file of the token."""
        self.token = self.mktemp()
        Path(self.token).write_text(TOKEN + "\n", encoding="ascii")
        Path(self.token).chmod(0o600)
        self.port = FakePort(lambda method, path, query: (404, {"error": "There is nothing here."}))
        self.connections: list[FakeConnection] = []
        self.environ = {"RENDEZVOUS_ADMIN_TOKEN_FILE": self.token, "USER": "alice"}

        def connect(port: Port) -> FakeConnection:
            self.connections.append(FakeConnection(self.port))
            return self.connections[-1]

        self.patch(Port, "_connection", connect)

    def tearDown(self) -> None:
        """Every connection was closed."""
        self.assertEqual([each for each in self.connections if not each.closed], [])

    def answers(self, **answers: Any) -> None:
        """Have the server answer ``GET /name`` and so on with these; ``__`` stands for a slash."""
        found = {f"/{name.replace('__', '/')}": answer for name, answer in answers.items()}

        def answer(method: str, path: str, query: dict[str, str]) -> tuple[int, Any]:
            return (200, found[path]) if path in found else (404, {"error": "There is nothing here.", "code": "x"})

        self.port.answer = answer

    def refusal(self, *words: str) -> str:
        """:returns: the one line of a mistake; the token is not in it."""
        err = super().refusal(*words)
        self.assertNotIn(TOKEN, err)
        return err


class ReadingTests(ServerCase):
    """What is only read."""

    def test_list_of_clients(self) -> None:
        """A table, in the order of the server."""
        self.answers(clients={"clients": [CLIENT, {**CLIENT, "host": None, "state": "registered"}], "next": None})
        lines = self.good("list").splitlines()
        self.assertEqual(lines[0].split(), ["CLIENT", "STATE", "ADDRESS", "REGISTERED", "FROM", "LAST", "SEEN"])
        self.assertEqual(lines[1].split(), [ID, "online", "198.51.100.7:40000", "198.51.100.7", "12", "s"])
        self.assertIn(" - ", lines[2])
        self.assertEqual(self.port.asked, [("GET", "/clients", {"limit": "100"}, None)])
        self.assertEqual(self.port.headers["Authorization"], f"Bearer {TOKEN}")
        self.assertEqual(self.port.headers["Rendezvous-Operator"], "alice")

    def test_filters(self) -> None:
        """They are the server's."""
        self.answers(clients={"clients": [], "next": None}, attempts={"attempts": [], "next": None})
        self.good("list", "--prefix", "ab", "--network", "10.0.0.0/8", "--state", "late")
        self.good("list", "attempts", "--client", ID)
        self.assertEqual(
            [query for _, _, query, _ in self.port.asked],
            [
                {"limit": "100", "prefix": "ab", "network": "10.0.0.0/8", "state": "late"},
                {"limit": "100", "client": ID},
            ],
        )

    def test_filter_of_another_list(self) -> None:
        """It is refused before anything is asked: all entries would look like those that were wanted."""
        for words in (["--client", ID], ["bans", "--network", "10.0.0.0/8"], ["attempts", "--state", "late"]):
            kind = "clients" if words[0].startswith("--") else words[0]
            self.assertIn(f"list {kind} does not take {words[-2]} (see ", self.refusal("list", *words))
        self.assertEqual(self.port.asked, [])

    def test_all_pages(self) -> None:
        """It goes on while there is more, also after a page with nothing, and stops at the limit."""

        def answer(method: str, path: str, query: dict[str, str]) -> tuple[int, Any]:
            at, limit = int(query.get("after", 0)), int(query["limit"])
            found = (
                [] if at == 1000 else [{**CLIENT, "client_id": f"{n:032x}"} for n in range(at, min(at + limit, 2500))]
            )
            return 200, {"clients": found, "next": str(at + 1000) if at + 1000 < 2500 else None}

        self.port.answer = answer
        found = [json.loads(line)["client_id"] for line in self.good("list", "--json", "--limit", "0").splitlines()]
        self.assertEqual(found, [f"{n:032x}" for n in (*range(1000), *range(2000, 2500))])
        self.assertEqual(len(self.good("list", "--json", "--limit", "1200").splitlines()), 1200)
        self.assertEqual(len(self.good("list", "--json", "--limit", "7").splitlines()), 7)

    def test_other_lists(self) -> None:
        """Each has its columns."""
        attempt = {"attempt": "cd" * 8, "begun": NOW - 60, "state": "failed", "mappings": ["none", "blocked"]}
        attempt |= {"controlling": ID, "controlled": "cd" * 16}
        attempt |= {"via": None, "strategy": "direct", "why": "No datagram has reached the server."}
        self.answers(
            attempts={"attempts": [attempt], "next": None},
            topics={"topics": [{"topic": "lobby\x1b[31m", "peers": 1200}], "total": 1},
            bans={"bans": [{"target": "10.0.0.0/8", "until": None, "since": NOW, "reason": "flood"}]},
            limited={"networks": [{"network": "10.0.0.1", "reason": "source-requests", "times": 5, "last": NOW - 3}]},
            sockets={"sockets": [{"kind": "signal", "host": "::1", "client_id": None, "since": NOW, "unread": 0}]},
        )
        for what, expected in (
            ("attempts", f"{ID}  {'cd' * 16}  1 min ago  failed  none + blocked  direct  {attempt['why']}\n"),
            ("topics", "1,200  lobby [31m\n"),
            ("bans", "10.0.0.0/8  for good  2023-11-14 22:13:20 UTC  flood\n"),
            ("limited", "10.0.0.1  source-requests  5      3 s ago\n"),
            ("sockets", "signal  ::1      -       0 s       0 bytes\n"),
        ):
            self.assertTrue(self.good("list", what).endswith(expected), (what, self.good("list", what)))

    def test_topics_are_paged_by_offset(self) -> None:
        """At most 200 at a time."""
        self.port.answer = lambda method, path, query: (
            200,
            {"topics": [{"topic": f"{int(query['offset']) + n}", "peers": 1} for n in range(200)], "total": 400},
        )
        self.assertEqual(len(self.good("list", "topics", "--json", "--limit", "0").splitlines()), 400)

    def test_one_client(self) -> None:
        """Its facts, and its history as a table."""
        found = {**CLIENT, "offers": 1, "attempts": 2, "event_stream": True, "sockets": 0, "ban": None}
        self.answers(
            **{f"clients__{ID}": {"client": {**found, "events": [{"time": NOW, "event": "moved", "text": "x"}]}}}
        )
        said = self.good("show", ID)
        self.assertIn(f"client           {ID}\n", said)
        self.assertIn("last seen        2023-11-14 22:13:08 UTC, 12 s ago\n", said)
        self.assertTrue(said.endswith("2023-11-14 22:13:20 UTC  moved  x\n"))
        self.assertEqual(json.loads(self.good("show", "--json", ID))["client"]["host"], "198.51.100.7")
        gone = {**found, "state": "gone", "network": None, "host": None, "port": None, "last_seen": None, "events": []}
        self.answers(**{f"clients__{ID}": {"client": gone}})
        self.assertIn("last seen        -\n", self.good("show", ID))

    def test_id_is_one_part_of_the_path(self) -> None:
        """Whatever is given."""
        self.refusal("show", "../bans?x")
        self.assertEqual(self.port.asked[0][1], "/clients/..%2Fbans%3Fx")

    def test_settings(self) -> None:
        """A line each."""
        self.answers(settings={"settings": {"store": "memory:", "without": ["demo", "tracker"]}})
        self.assertEqual(self.good("show", "settings"), "store    memory:\nwithout  demo tracker\n")

    def test_top(self) -> None:
        """Without a terminal it is shown once; a rate that this program does not know is left out."""
        self.answers(overview=OVERVIEW, history={"rates": RATES})
        said = self.good("top")
        self.assertIn("clients    12,345 online, 2 late, 1 not seen yet\n", said)
        self.assertIn("server     rendezvous 1.0, up for 2 h 2 min\n", said)
        self.assertIn("pulses     412/s  3.0/min  -\n", said)
        self.assertIn("tables     tracker peers 90%, signaling memory 20%, clients 1%\n", said)
        empty = {"entries": 0, "limit": 100}
        overview = {**OVERVIEW, "tables": {"bans": empty}, "signaling_memory": empty}
        self.answers(overview=overview, history={"rates": RATES})
        self.assertIn("tables     all below 1%\n", self.good("top"))
        self.answers(overview=OVERVIEW, history={"rates": RATES})
        self.assertIn("restart    4 s without a server; kept 12,000 clients, 9 offers, 0 tracker peers\n", said)
        self.assertNotIn("\x1b", said)
        self.assertEqual(json.loads(self.good("top", "--json"))["overview"]["offers"], 7)

    def test_top_of_a_new_store(self) -> None:
        """Nothing was read back; and a server without a file has no line about it."""
        made_now = {**cast(dict[str, Any], OVERVIEW["saving"]), "restored": None}
        for saving in (made_now, None):
            self.answers(overview={**OVERVIEW, "saving": saving}, history={"rates": RATES})
            said = self.good("top")
            self.assertEqual("restart    none: the store was made at the start\n" in said, saving is not None)

    def test_top_on_a_terminal(self) -> None:
        """It is renewed with each update, until the server ends it."""
        stream = "".join(
            f"event: {event}\ndata: {json.dumps(data)}\n\n"
            for event, data in [("figures", {"rates": RATES}), ("overview", OVERVIEW), ("overview", OVERVIEW)]
        )
        self.port.answer = lambda method, path, query: (200, (": hello\n\n" + stream).encode())
        screens = list(verbs._screens(Port("http://127.0.0.1:5027", TOKEN)))
        self.assertEqual(len(screens), 2)
        self.assertTrue(screens[0].startswith("\x1b[2J\x1b[H"))
        self.assertIn("412/s", screens[0])

    def test_watch(self) -> None:
        """Lines of before, then those that come; a stream that ends is opened again after the last line."""
        new = {**LINE, "seq": 5, "level": "info", "text": "new"}
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                raise KeyboardInterrupt

        self.patch(time, "sleep", wait)
        answers = [
            (200, {"lines": [{**LINE, "seq": 3}, LINE], "next": 4, "lost": 0}),
            (200, b"event: figures\ndata: {}\n\nevent: log\ndata: " + json.dumps(new).encode() + b"\n\n"),
            (200, b""),
        ]
        self.port.answer = lambda method, path, query: answers.pop(0)
        status, out, err = self.admin("watch", "--lines", "1")
        when = "2023-11-14 22:13:20 UTC"
        self.assertEqual((status, err), (130, ""))
        self.assertEqual(out, f"{when}  warn: a line [2J\n{when}  new\n")
        self.assertEqual([query for _, _, query, _ in self.port.asked], [{}, {"after": "4"}, {"after": "5"}])


class ActingTests(ServerCase):
    """What is changed."""

    def answer(self, *answers: Any) -> None:
        """Have the server answer so, one after the other."""
        left = list(answers)
        self.port.answer = lambda method, path, query: left.pop(0)

    def test_kick(self) -> None:
        """One after the other; the first that is not there ends it."""
        self.answer((200, {"client_id": ID}), (404, {"error": "There is no such client.", "code": "no-such-client"}))
        status, out, err = self.admin("kick", ID, "cd" * 16, "ef" * 16)
        self.assertEqual((status, out, err), (1, f"kicked {ID}\n", "rendezvous-admin: There is no such client\n"))
        self.assertEqual(
            [path for _, path, _, _ in self.port.asked], [f"/clients/{ID}/kick", f"/clients/{'cd' * 16}/kick"]
        )

    def test_ban(self) -> None:
        """For a time, or for good."""
        shown = {"target": "10.0.0.0/8", "until": NOW + 43200, "reason": "flood", "since": NOW}
        self.answer((201, shown), (201, {**shown, "until": None}))
        said = self.good("ban", "10.0.0.0/8", "--for", "12h", "--reason", "flood")
        self.assertEqual(said, "banned 10.0.0.0/8 until 2023-11-15 10:13:20 UTC\n")
        self.assertEqual(self.good("ban", "10.0.0.0/8"), "banned 10.0.0.0/8 for good\n")
        bodies = [body for _, _, _, body in self.port.asked]
        self.assertEqual(bodies[0], {"target": "10.0.0.0/8", "seconds": 43200, "reason": "flood"})
        self.assertEqual(bodies[1]["seconds"], None)

    def test_unban(self) -> None:
        """The slash of a network does not end its part of the path."""
        self.answer((200, {"target": "10.0.0.0/8"}))
        self.assertEqual(self.good("unban", "10.0.0.0/8"), "lifted the ban of 10.0.0.0/8\n")
        self.assertEqual(self.port.asked, [("DELETE", "/bans/10.0.0.0%2F8", {}, None)])

    def test_drain_and_undrain(self) -> None:
        """They are a POST and a DELETE of the same."""
        self.answer((200, {"draining": True}), (200, {"draining": False}))
        self.assertIn("refuses new clients", self.good("drain"))
        self.assertEqual(json.loads(self.good("undrain", "--json")), {"draining": False})
        self.assertEqual(
            [(method, path) for method, path, _, _ in self.port.asked], [("POST", "/drain"), ("DELETE", "/drain")]
        )

    def test_reload(self) -> None:
        """It says what has changed, and what cannot."""
        self.answer((200, {"changed": ["udp-answers"], "refused": ["store"], "certificates": 1}))
        said = self.good("reload")
        self.assertEqual(said, "reloaded: udp-answers; certificates read again: 1; only a restart can change store\n")


class TroubleTests(ServerCase):
    """Each mistake is one line, and status 1."""

    def test_server_that_is_away(self) -> None:
        """The line says where it was looked for, and why."""

        def refuse(method: str, path: str, query: dict[str, str]) -> Any:
            raise ConnectionRefusedError(111, "Connection refused")

        self.port.answer = refuse
        self.assertEqual(
            self.refusal("list"),
            "rendezvous-admin: the server at http://127.0.0.1:5027 cannot be reached: Connection refused;"
            " does it run with --admin, at this address?\n",
        )

    def test_server_that_is_silent(self) -> None:
        """It is not waited for without end."""

        def hang(method: str, path: str, query: dict[str, str]) -> Any:
            raise TimeoutError("timed out")

        self.port.answer = hang
        self.assertIn("cannot be reached: it is silent\n", self.refusal("drain"))

    def test_token(self) -> None:
        """It is missing, is none, or is another one."""
        self.port.answer = lambda method, path, query: (
            401,
            {"error": "This is not the token.", "code": "unauthorized"},
        )
        self.assertIn("refuses the token; see --token-file", self.refusal("list"))
        self.environ["RENDEZVOUS_ADMIN_TOKEN_FILE"] = "missing"
        self.assertIn("'missing' cannot be read: No such file or directory; see --token-file", self.refusal("list"))
        Path(self.token).write_text("two words\n", encoding="ascii")
        self.assertIn("holds no token of operators", self.refusal("list", "--token-file", self.token))
        Path(self.token).write_bytes(os.urandom(3000))
        self.assertIn("holds no token of operators", self.refusal("list", "--token-file", self.token))

    def test_token_that_all_users_can_read(self) -> None:
        """It is not used, like the server's own file; a group of operators may have a copy."""
        Path(self.token).chmod(0o644)
        self.assertIn(f"{self.token!r} can be read by all users: run chmod 600 on it", self.refusal("list"))
        Path(self.token).chmod(0o640)
        self.answers(clients={"clients": [], "next": None})
        self.good("list")

    def test_public_port(self) -> None:
        """It is not the operators' port; its own words are for its clients."""
        error = {"error": "There is nothing at this path: /openapi.json lists all paths.", "code": "no-such-path"}
        self.port.answer = lambda method, path, query: (404, error)
        self.assertIn("5027 answers with status 404: is it the port for operators? See --admin\n", self.refusal("top"))

    def test_certificate_that_is_not_trusted(self) -> None:
        """The option for it is named."""

        def refuse(method: str, path: str, query: dict[str, str]) -> Any:
            error = ssl.SSLCertVerificationError(1, "certificate verify failed")
            error.verify_message = "self-signed certificate"
            raise error

        self.port.answer = refuse
        said = self.refusal("top", "--admin", "https://127.0.0.1:5027")
        self.assertIn("its certificate is not trusted (self-signed certificate); see --ca-file\n", said)

    def test_answer_of_something_else(self) -> None:
        """Whatever answers at that port."""
        for status, body in (
            (200, b"<html>"), (200, b"[]"), (200, b"[" * 100_000), (200, b"{}"), (502, b"<html>"), (302, b""),
            (400, b'{"error": 7}'), (400, b'{"error": "a\\u001b[2Jb\\n"}'), (200, b'{"clients": 7, "next": null}'),
            (200, b'{"clients": [7], "next": null}'), (200, b'{"clients": [{"client_id": 1}], "next": null}'),
        ):  # fmt: skip
            given = status, body
            self.port.answer = functools.partial(lambda given, *request: given, given)
            self.assertNotIn("\x1b", self.refusal("list"))

    def test_words_that_are_wrong(self) -> None:
        """They are refused before anything is asked."""
        for words in (
            ["list", "everything"], ["list", "--state", "gone"], ["list", "--limit", "-1"], ["kick"], ["ban"],
            ["ban", "x", "--for", "1y"], ["ban", "x", "--for", "99999d"], ["drain", "now"],
            ["list", "--admin", "127.0.0.1:5027"], ["list", "--admin", "ftp://x"], ["list", "--admin", "http://[x"],
            ["list", "--admin", "http://x:99999"], ["list", "--admin", "https://x", "--ca-file", "missing"],
        ):  # fmt: skip
            self.refusal(*words)
        self.assertEqual(self.port.asked, [])

    def test_user_name_that_the_server_does_not_take(self) -> None:
        """It is left out."""
        self.environ["USER"] = "no name\r\nX: y"
        self.answers(clients={"clients": [], "next": None})
        self.good("list")
        self.assertNotIn("Rendezvous-Operator", self.port.headers)

    def test_credentials_in_the_url_are_not_shown(self) -> None:
        """Only the host and the port are."""

        def refuse(method: str, path: str, query: dict[str, str]) -> Any:
            raise ConnectionRefusedError(111, "Connection refused")

        self.port.answer = refuse
        self.assertNotIn("hunter2", self.refusal("list", "--admin", "http://u:hunter2@127.0.0.1:5027"))


class TableTests(SynchronousTestCase):
    """Tables and numbers."""

    def test_table(self) -> None:
        """Columns are aligned, and nothing is behind the last one."""
        self.assertEqual(table(("a", "bcd"), [("long", 1), ("x", None)]), "A     BCD\nlong  1\nx     -")

    def test_controls(self) -> None:
        """Nothing of a server moves the cursor."""
        self.assertEqual(plain("a\x1b[2J\r\n\x9bb\u202e"), "a [2J b ")

    def test_numbers(self) -> None:
        """With the unit that says most."""
        for said, expected in (
            (rate(None), "-"), (rate(0), "0/s"), (rate(0.5), "30/min"), (rate(0.001), "3.6/h"), (rate(1234), "1,234/s"),
            (size(None), "-"), (size(12), "12 bytes"), (size(999.99), "1.0 kB"), (size(52.4e6), "52.4 MB"),
            (size(5e15), "5000.0 TB"), (span(None), "-"), (span(59), "59 s"), (span(12_000), "3 h 20 min"),
            (span(1e6), "11 days"), (delay(None), "-"), (delay(0.0004), "0.4 ms"), (delay(2), "2.0 s"),
            (moment(None), "-"), (moment(None, "never"), "never"), (moment(0), "1970-01-01 00:00:00 UTC"),
            (moment(1e300), "-"), (moment(float("nan")), "-"),
        ):  # fmt: skip
            self.assertEqual(said, expected)
