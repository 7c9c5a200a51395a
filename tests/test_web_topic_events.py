"""Topics that are watched by streams of Server-Sent Events and by requests, and tickets for streams."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from rendezvous.testing import Connection
from tests._events_case import EventsTestCase, frames
from tests._web_case import LIMITS, NOW, NOW_MS, ORIGIN, Headers


class TopicStreamTests(EventsTestCase):
    """``GET /events?topics=``."""

    def watch(self, headers: Headers | None = None, last_id: str | None = None, **query: Any) -> Connection:
        """Open a stream with a query."""
        given = {**(self.alice if headers is None else headers), **({"Last-Event-ID": last_id} if last_id else {})}
        stream = self.start("GET", f"/events?{urlencode(query, doseq=True)}", headers=given)
        self.assertTrue(stream.transport.value().startswith(b"HTTP/1.1 200 OK\r\n"), stream.transport.value())
        return stream

    def test_offers_appear_and_go(self) -> None:
        """Byte for byte, in the order in which it happens, beside the peer's own events."""
        mine = self.publish(topics=["other"], id="mine")
        stream = self.watch(topics="chess,go")
        before = len(self.text(stream))
        self.publish(self.bob, topics=["chess", "go"], id="x")
        self.answer(mine)
        self.good("DELETE", "/offers/x", None, self.bob)
        self.server.reactor.advance(0)
        blocks = self.text(stream)[before:].split("\n\n")
        lines = [block.split("\n") for block in blocks if block and not block.startswith(":")]
        self.assertEqual([block[1] for block in lines], ["event: offer", "event: answer", "event: gone"])
        ids = [int(block[0].removeprefix("id: ")) for block in lines]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertGreater(ids[0], NOW * 1_000_000)
        offer = {
            "id": "x", "peerId": self.bob_id, "topics": ["chess", "go"], "hasSecret": False, "sdp": "v=0",
            "expiresAt": NOW_MS + 300_000, "lastSeen": NOW_MS,
        }  # fmt: skip
        gone = {"offerId": "x", "topics": ["chess", "go"], "reason": "withdrawn"}
        self.assertEqual(json.loads(lines[0][2].removeprefix("data: ")), offer)
        self.assertEqual(json.loads(lines[2][2].removeprefix("data: ")), gone)

    def test_resume(self) -> None:
        """By the header, or by the query where a page cannot send it; the header is the later one."""
        stream = self.watch(topics="chess")
        last_id = self.leave(stream)
        self.publish(self.bob, id="x")
        cases: list[dict[str, Any]] = [
            {"last_id": last_id},
            {"lastEventId": last_id},
            {"last_id": last_id, "lastEventId": "1"},
        ]
        for given in cases:
            again = self.watch(topics="chess", **given)
            self.assertEqual([(each.event, each.data["id"]) for each in frames(self.text(again))[0]], [("offer", "x")])
        self.refused(400, "malformed", "GET", "/events?lastEventId=x", None, self.alice)

    def test_missed(self) -> None:
        """Of one topic: the reset names it, and the stream goes on; there is no second one."""
        last_id = self.leave(self.watch(topics="chess"))
        self.advance(121)
        stream = self.watch(topics="chess,go", last_id=last_id)
        self.publish(self.bob, id="x")
        found = [(each.event, each.data.get("id", each.data.get("topics"))) for each in frames(self.text(stream))[0]]
        self.assertEqual(found, [("reset", ["chess", "go"]), ("offer", "x")])
        again = self.watch(topics="chess,go", last_id=self.last_id(stream))
        self.assertEqual(frames(self.text(again))[0], [])

    def test_slow_reader_of_a_topic(self) -> None:
        """Gets what there is when it reads: of an offer that was published again, only what it is then."""
        stream = self.watch(self.bob, topics="chess")
        self.pause(stream)
        self.publish(id="x", info="first")
        size = len(self.text(stream))
        self.publish(id="x", info="second")
        self.publish(id="y", sdp="v=2")
        self.good("DELETE", "/offers/y", None, self.alice)
        self.assertEqual(len(self.text(stream)), size)
        self.resume(stream)
        found = [(each.event, each.data.get("info")) for each in frames(self.text(stream)[size:])[0]]
        self.assertEqual(found, [("offer", "second"), ("gone", None)])

    def test_names_of_topics(self) -> None:
        """Between commas, or one at a time; twice is once."""
        stream = self.watch(topics="a,b,a", topic=["c,d", "☃"])
        for number, topic in enumerate(("a", "b", "c,d", "☃", "c", "d")):
            self.publish(self.bob, id=f"{number}", topics=[topic], sdp=f"v={number}")
        self.assertEqual([each.data["id"] for each in frames(self.text(stream))[0]], ["0", "1", "2", "3"])

    def test_topics_out_of_their_limits(self) -> None:
        """Are refused, and leave nothing."""
        for query, code in (
            ("topics=a,,b", "empty"), (f"topic={'t' * 257}", "too-long"),
            ("topics=" + ",".join(f"{number}" for number in range(33)), "too-long"), ("topics=%FF", "malformed"),
        ):  # fmt: skip
            self.refused(400, code, "GET", f"/events?{query}", None, self.alice)
        self.assertEqual((len(self.news), self.server.rendezvous.store.watching(["a"])), (0, 0))
        self.assertEqual(self.ask("HEAD", "/events?topics=a", None, self.alice).status, 200)

    def test_client_that_vanishes(self) -> None:
        """Watches nothing any more."""
        stream = self.watch(topics="a,b")
        self.assertEqual(self.server.rendezvous.store.watching(["a", "b"]), 2)
        self.leave(stream)
        self.assertEqual(self.server.rendezvous.store.watching(["a", "b"]), 0)


class TicketTests(EventsTestCase):
    """``POST /events/ticket``."""

    def ticket(self, headers: Headers | None = None) -> str:
        """Get one."""
        body = self.good("POST", "/events/ticket", None, self.alice if headers is None else headers)
        self.assertEqual(set(body), {"ticket", "expires"})
        self.assertEqual(body["expires"], self.server.reactor.seconds() * 1000 + 60_000)
        ticket: str = body["ticket"]
        return ticket

    def test_opens_one_stream(self) -> None:
        """Of the peer that has got it, without its credential; a second one is refused."""
        ticket = self.ticket()
        stream = self.start("GET", f"/events?ticket={ticket}", headers=ORIGIN)
        self.answer(self.publish(id="x"))
        self.assertEqual(self.heard(stream), [("answer", "x")])
        self.refused(401, "unauthorized", "GET", f"/events?ticket={ticket}")

    def test_lifetime(self) -> None:
        """It is good for a minute."""
        early, late = self.ticket(), self.ticket()
        self.advance(59)
        self.start("GET", f"/events?ticket={early}")
        self.advance(1)
        self.refused(401, "unauthorized", "GET", f"/events?ticket={late}")

    def test_credential_comes_first(self) -> None:
        """With both, the ticket is not used."""
        ticket = self.ticket()
        self.listen()
        self.start("GET", f"/events?ticket={ticket}", headers=self.bob)
        stream = self.start("GET", f"/events?ticket={ticket}")
        self.answer(self.publish(id="x"))
        self.assertEqual(self.heard(stream), [("answer", "x")])

    def test_needs_a_credential(self) -> None:
        """Also a ticket does not give another one."""
        self.refused(401, "unauthorized", "POST", "/events/ticket")
        self.refused(401, "unauthorized", "POST", f"/events/ticket?ticket={self.ticket()}")

    def test_ends_with_its_credential(self) -> None:
        """A ticket of a peer that has logged out is of no use."""
        _, _, headers = self.server.register()
        ticket = self.ticket(headers)
        self.good("POST", "/logout", None, headers)
        self.refused(401, "unauthorized", "GET", f"/events?ticket={ticket}")

    def test_number(self) -> None:
        """Of each source; the refusal is counted."""
        shares = self.server.rendezvous.web._tickets.shares
        shares.change(2, 8)
        tickets = [self.ticket() for _ in range(2)]
        self.refused(429, "source-tickets", "POST", "/events/ticket", None, self.alice)
        self.start("GET", f"/events?ticket={tickets[0]}")
        self.ticket()
        limited = self.server.rendezvous.counters.family("limited sources")
        self.assertEqual(limited["source-tickets"], 1)


class ChangesTests(EventsTestCase):
    """``GET /offers/by-topic/<topic>?since=&wait=``."""

    PATH = "/offers/by-topic/chess"

    def changes(self, **query: Any) -> Any:
        """Ask for what has changed."""
        return self.good("GET", f"{self.PATH}?{urlencode(query)}")

    def waiting(self, **query: Any) -> Connection:
        """Ask for it and wait."""
        return self.start("GET", f"{self.PATH}?{urlencode(query)}")

    def ids(self, body: Any) -> tuple[list[str], list[Any], bool]:
        """:returns: what an answer is about."""
        return [offer["id"] for offer in body["offers"]], body["gone"], body["reset"]

    def result(self, connection: Connection) -> Any:
        """:returns: the answer to a request that has waited."""
        response = connection.response()
        assert response is not None, "not answered"
        self.assertEqual(response.status, 200)
        return response.json()

    def test_a_listing_without_these_parameters(self) -> None:
        """Is what it was, and watches nothing."""
        self.publish(id="x")
        self.assertEqual(set(self.good("GET", self.PATH)), {"topic", "offers", "total", "returned", "hasMore"})
        store: Any = self.server.rendezvous.store
        self.assertEqual(len(store.tables.offers.watches), 0)

    def test_from_the_beginning(self) -> None:
        """The listing comes first, and then each change once."""
        self.publish(id="x")
        body = self.changes(since=0)
        self.assertEqual(self.ids(body), (["x"], [], True))
        self.assertEqual((body["topic"], body["returned"], body["total"], body["hasMore"]), ("chess", 1, 1, False))
        nothing = self.changes(since=body["since"])
        self.assertEqual((self.ids(nothing), "total" in nothing), (([], [], False), False))
        self.publish(id="y", sdp="v=2")
        self.answer("x")
        body = self.changes(since=nothing["since"])
        self.assertEqual(self.ids(body), (["y"], [{"offerId": "x", "reason": "answered"}], False))
        self.assertEqual(self.ids(self.changes(since=body["since"])), ([], [], False))

    def test_on_a_new_server(self) -> None:
        """Where nothing has a number yet, the listing comes first too."""
        self.publish(id="x")
        self.assertEqual(self.ids(self.changes(since=0)), (["x"], [], True))

    def test_waits(self) -> None:
        """For a change of this topic, and for none of another one."""
        since = self.changes(since=0)["since"]
        waiting = self.waiting(since=since, wait=20)
        self.publish(topics=["go"], id="other")
        self.advance(5)
        self.assertIsNone(waiting.response())
        self.publish(id="x", sdp="v=2")
        self.assertEqual(self.ids(self.result(waiting)), (["x"], [], False))
        self.assertEqual(len(self.news), 0)

    def test_waits_in_vain(self) -> None:
        """The answer is empty, and its number is good for the next request."""
        since = self.changes(since=0)["since"]
        waiting = self.waiting(since=since, wait=20)
        self.advance(20)
        body = self.result(waiting)
        self.assertEqual(self.ids(body), ([], [], False))
        self.publish(id="x")
        self.assertEqual(self.ids(self.changes(since=body["since"])), (["x"], [], False))

    def test_waits_for_the_first_offer(self) -> None:
        """Without since; if there is one it is returned at once."""
        waiting = self.waiting(wait=20)
        self.assertIsNone(waiting.response())
        self.publish(id="x")
        self.assertEqual(self.ids(self.result(waiting)), (["x"], [], True))
        self.assertEqual(self.ids(self.changes(wait=20)), (["x"], [], True))

    def test_expiry(self) -> None:
        """Is a change that comes by itself."""
        self.publish(id="x", ttl=60_000)
        since = self.changes(since=0)["since"]
        self.advance(50)
        waiting = self.waiting(since=since, wait=20)
        self.advance(10)
        self.assertEqual(self.ids(self.result(waiting)), ([], [{"offerId": "x", "reason": "expired"}], False))

    def test_missed(self) -> None:
        """After two minutes without a request the listing comes again, at once."""
        since = self.changes(since=0)["since"]
        self.publish(id="x", ttl=600_000)
        self.advance(119)
        self.assertEqual(self.ids(self.changes(since=since, wait=20)), (["x"], [], False))
        self.advance(121)
        self.assertEqual(self.ids(self.changes(since=since, wait=20)), (["x"], [], True))

    def test_bloom_and_limit(self) -> None:
        """Hold for changes too: what the caller knows is left out, and the rest comes with the next requests."""
        since = self.changes(since=0)["since"]
        for number in range(3):
            self.publish(id=f"{number}", sdp=f"v={number}")
        first = self.changes(since=since, limit=2)
        self.assertEqual(self.ids(first), (["0", "1"], [], False))
        self.assertEqual(self.ids(self.changes(since=first["since"])), (["2"], [], False))
        full = self.changes(since=since, bloom="/w==")
        self.assertEqual(self.ids(full), ([], [], False))

    def test_pages_of_the_listing(self) -> None:
        """Are asked for by next, as ever."""
        for number in range(3):
            self.publish(id=f"{number}", sdp=f"v={number}")
        body = self.changes(since=0, limit=2)
        self.assertEqual((self.ids(body), body["hasMore"]), ((["2", "1"], [], True), True))
        rest = self.good("GET", f"{self.PATH}?next={body['next']}&limit=2")
        self.assertEqual([offer["id"] for offer in rest["offers"]], ["0"])

    def test_bad_numbers(self) -> None:
        """Are refused."""
        for query in ("since=x", "since=-1", "wait=x"):
            self.refused(400, "malformed", "GET", f"{self.PATH}?{query}")

    def test_watchers(self) -> None:
        """Of one topic: the next one is refused, and nothing is left of it."""
        kept = [self.server.rendezvous.store.watch("chess", NOW) for _ in range(LIMITS.watchers_of_topic)]
        self.refused(429, "topic-watchers", "GET", f"{self.PATH}?wait=1")
        for watch in kept:
            watch.close(NOW)
        self.assertEqual(len(self.news), 0)

    def test_publication_costs_what_it_causes(self) -> None:
        """An offer that goes to many counts for more."""
        rates = self.server.rendezvous.web.gate.quotas
        taken: list[int] = []
        self.patch(rates, "publications", lambda source, number: taken.append(number))
        kept = [self.server.rendezvous.store.watch("chess", NOW) for _ in range(200)]
        self.publish(id="x")
        self.publish(id="y", sdp="v" * 5000)
        self.publish(id="z", sdp="v=3", topics=["go"])
        self.assertEqual(taken, [3, 5, 1])
        for watch in kept:
            watch.close(NOW)
