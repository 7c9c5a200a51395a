"""Publishing offers over HTTP: every field, every limit, all or none."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from tests._web_case import LIMITS, NOW_MS, WebTestCase, but


def derived_id(sdp: str, topics: list[str]) -> str:
    """The id of an offer that names none, as a JavaScript client computes it."""
    text = json.dumps({"sdp": sdp, "topics": sorted(topics)}, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class AboutTests(WebTestCase):
    """What the server says of itself."""

    def test_root_names_the_server(self) -> None:
        """The root gives version, name and description and needs no credential."""
        body = self.good("GET", "/")
        self.assertLessEqual({"version", "name", "description"}, set(body))

    def test_health_tells_the_time_in_milliseconds(self) -> None:
        """Health is ok, with the server's time in ms."""
        body = self.good("GET", "/health")
        self.assertEqual(body, {"status": "ok", "timestamp": NOW_MS, "version": body["version"]})


class PublishTests(WebTestCase):
    """``POST /offers``."""

    def publish_raw(self, *specs: Any) -> Any:
        """Publish as Alice."""
        return self.ask("POST", "/offers", {"offers": list(specs)}, self.alice)

    def test_answer_has_the_derived_id_and_the_end_in_ms(self) -> None:
        """An offer without an id gets the hash of its content, and lives five minutes."""
        body = self.good("POST", "/offers", {"offers": [{"sdp": "v=0", "topics": ["b", "a"]}]}, self.alice)
        self.assertEqual(
            body,
            {
                "offers": [
                    {
                        "id": derived_id("v=0", ["b", "a"]),
                        "peerId": self.alice_id,
                        "topics": ["b", "a"],
                        "expiresAt": NOW_MS + 300_000,
                    }
                ]
            },
        )

    def test_own_id_is_kept(self) -> None:
        """An offer with an id of the caller's own has that one, emoji and all."""
        self.assertEqual(self.publish(id="my \U0001f600"), "my \U0001f600")

    def test_order_of_the_request_is_the_order_of_the_answer(self) -> None:
        """Several offers come back in the order they were sent in."""
        specs = [{"sdp": f"v={n}", "topics": ["chess"], "id": f"o{n}"} for n in range(10)]
        body = self.good("POST", "/offers", {"offers": specs}, self.alice)
        self.assertEqual([offer["id"] for offer in body["offers"]], [f"o{n}" for n in range(10)])

    def test_lifetime_is_clamped(self) -> None:
        """Whatever ttl is asked for, at, below and above the bounds, an offer lives one minute to one hour."""
        for ttl, lived in (
            (59_999, 60_000),
            (60_000, 60_000),
            (60_001, 60_001),
            (3_599_999, 3_599_999),
            (3_600_000, 3_600_000),
            (3_600_001, 3_600_000),
            (-1, 60_000),
            (0, 60_000),
            (10**30, 3_600_000),
            (90_000.0, 90_000),
            (None, 300_000),
        ):
            self.publish(id="same", ttl=ttl)
            self.assertEqual(self.mine()[0]["expiresAt"], NOW_MS + lived, ttl)

    def test_wrong_types_are_named(self) -> None:
        """A field of the wrong type is 400 with its name, and nothing is published."""
        wrong = {
            "sdp": but("string"),
            "topics": [*but("list"), [7], [None], [["a"]]],
            "ttl": but("integer"),
            "secret": but("string"),
            "info": but("string"),
            "id": but("string"),
        }
        for field, values in wrong.items():
            for value in values:
                spec = {"sdp": "v=0", "topics": ["chess"], field: value}
                response = self.publish_raw({"sdp": "v=9", "topics": ["go"]}, spec)
                self.assertRefused(response, 400, "malformed", f"offers[1].{field}")
        for value in but("list"):
            self.assertRefused(self.ask("POST", "/offers", {"offers": value}, self.alice), 400, "malformed", "offers")
        for value in but("object"):
            self.assertRefused(self.publish_raw(value), 400, "malformed", "offers[0]")
        self.assertEqual(self.mine(), [])

    def test_missing_fields_are_named(self) -> None:
        """A field that must be there and is not, or is null, is 400 with its name."""
        good: dict[str, Any] = {"sdp": "v=0", "topics": ["a"]}
        for field in good:
            without = {name: value for name, value in good.items() if name != field}
            for spec in (without, {**good, field: None}):
                self.assertRefused(self.publish_raw(spec), 400, "missing-field", f"offers[0].{field}")
        for body in ({}, {"offers": None}):
            self.assertRefused(self.ask("POST", "/offers", body, self.alice), 400, "missing-field", "offers")

    def test_null_is_absent_where_a_field_may_be_absent(self) -> None:
        """Optional fields that are null are as if they were not there; unknown ones are ignored."""
        self.publish(ttl=None, secret=None, info=None, id=None, colour="red")
        offer = self.mine()[0]
        self.assertEqual((offer["id"], offer["hasSecret"]), (derived_id("v=0", ["chess"]), False))

    def test_limits_hold_at_and_above(self) -> None:
        """Each limit lets its own value pass and refuses the next, and an empty text where there must be one."""
        good: list[dict[str, Any]] = [
            {"sdp": "x" * LIMITS.sdp_size},
            {"sdp": "\u00e9" * (LIMITS.sdp_size // 2)},
            {"secret": "\U0001f600" * 128},
            {"info": "\U0001f600" * 128},
            {"info": ""},
            {"topics": [f"t{n}" for n in range(20)]},
            {"topics": ["\U0001f600" * 256]},
            {"id": "x" * 256},
        ]
        for fields in good:
            self.publish(**fields)
        # Three of them differ in secret and info alone: one and the same offer.
        self.assertEqual(len(self.mine()), len(good) - 2)
        bad: list[tuple[dict[str, Any], str]] = [
            ({"sdp": "x" * (LIMITS.sdp_size + 1)}, "too-long"),
            ({"sdp": "\u00e9" * (LIMITS.sdp_size // 2) + "x"}, "too-long"),
            ({"sdp": ""}, "empty"),
            ({"secret": "x" * 129}, "too-long"),
            ({"info": "x" * 129}, "too-long"),
            ({"topics": []}, "empty"),
            ({"topics": [f"t{n}" for n in range(21)]}, "too-long"),
            ({"topics": ["x" * 257]}, "too-long"),
            ({"topics": ["ok", ""]}, "empty"),
            ({"id": "x" * 257}, "too-long"),
            ({"id": ""}, "empty"),
            ({"id": "a/b"}, "malformed"),
            ({"id": ".."}, "malformed"),
            ({"sdp": "\ud800"}, "malformed"),
            ({"topics": ["\ud800"]}, "malformed"),
        ]
        before = self.mine()
        for fields, code in bad:
            spec = {"sdp": "v=0", "topics": ["chess"], **fields}
            self.assertRefused(self.publish_raw(spec), 400, code, f"offers[0].{next(iter(fields))}")
        self.assertEqual(self.mine(), before)

    def test_number_of_offers_in_a_request(self) -> None:
        """One to ten offers fit into a request; none and eleven do not."""
        specs = [{"sdp": f"v={n}", "topics": ["chess"]} for n in range(11)]
        self.assertRefused(self.publish_raw(), 400, "empty", "offers")
        self.assertRefused(self.publish_raw(*specs), 400, "too-long", "offers", "10")
        self.assertEqual(self.mine(), [])
        self.assertEqual(self.publish_raw(*specs[:10]).status, 200)

    def test_several_offers_are_all_or_none(self) -> None:
        """One bad offer at any place of a request leaves none of the others behind."""
        bad: list[Any] = [{"sdp": "", "topics": ["chess"]}, {"sdp": "v=0", "topics": []}, 5, {"topics": ["x"]}]
        for wrong in bad:
            for place in range(3):
                specs = [{"sdp": f"v={n}", "topics": ["chess"]} for n in range(2)]
                specs.insert(place, wrong)
                self.assertEqual(self.publish_raw(*specs).status, 400)
        self.assertEqual(self.mine(), [])
        self.assertEqual(self.good("GET", "/topics")["total"], 0)

    def test_an_id_of_another_peer_spoils_the_whole_request(self) -> None:
        """An id that is taken is 409, and the offers beside it are not published."""
        self.publish(id="mine")
        specs = [{"sdp": "v=5", "topics": ["go"]}, {"sdp": "v=6", "topics": ["go"], "id": "mine"}]
        self.refused(409, "id-taken", "POST", "/offers", {"offers": specs}, self.bob)
        self.assertEqual(self.mine(self.bob), [])

    def test_the_same_offer_twice_in_a_request(self) -> None:
        """Two offers that would have one id are 400, and neither is published."""
        spec = {"sdp": "v=0", "topics": ["chess"]}
        self.assertRefused(self.publish_raw(spec, spec), 400, "duplicate", "offers[1]", "offers[0]")
        self.assertEqual(self.mine(), [])

    def test_publishing_again_refreshes(self) -> None:
        """The owner's same offer again is the same offer with a new lifetime."""
        first = self.publish()
        self.advance(100)
        self.assertEqual(self.publish(), first)
        offers = self.mine()
        self.assertEqual([offer["expiresAt"] for offer in offers], [NOW_MS + 400_000])
        self.assertEqual(offers[0]["createdAt"], NOW_MS)

    def test_the_same_content_of_another_peer_conflicts(self) -> None:
        """The derived id belongs to the peer that published first."""
        self.publish()
        spec = {"sdp": "v=0", "topics": ["chess"]}
        self.refused(409, "id-taken", "POST", "/offers", {"offers": [spec]}, self.bob)

    def test_publishing_an_answered_offer_again_conflicts(self) -> None:
        """An offer that is locked stays as it was."""
        self.answer(self.publish())
        spec = {"sdp": "v=0", "topics": ["chess"]}
        self.refused(409, "already-answered", "POST", "/offers", {"offers": [spec]}, self.alice)


class CapacityTests(WebTestCase):
    """The bounds that an operator sets."""

    settings = {"offers_per_peer": 3, "max_offers": 4}  # noqa: RUF012

    def test_a_peer_has_its_share(self) -> None:
        """One more than a peer's share is 429 with Retry-After, and refreshing is still possible."""
        for number in range(3):
            self.publish(id=f"o{number}")
        response = self.ask("POST", "/offers", {"offers": [{"sdp": "v=9", "topics": ["x"]}]}, self.alice)
        self.assertRefused(response, 429, "too-many")
        self.assertEqual(response.headers["retry-after"], "30")
        self.publish(id="o1")
        self.assertEqual(len(self.mine()), 3)

    def test_a_request_over_the_share_publishes_nothing(self) -> None:
        """Four offers at once by a peer that may have three leave none."""
        specs = [{"sdp": f"v={n}", "topics": ["x"]} for n in range(4)]
        self.refused(429, "too-many", "POST", "/offers", {"offers": specs}, self.alice)
        self.assertEqual(self.mine(), [])

    def test_the_board_has_a_bound(self) -> None:
        """Offers and sessions together fill the signaling; then it is 503 with Retry-After until one expires."""
        for number in range(3):
            self.publish(id=f"o{number}")
        self.open_session()
        specs = [{"sdp": "v=9", "topics": ["x"]}]
        response = self.ask("POST", "/offers", {"offers": specs}, self.bob)
        self.assertRefused(response, 503, "full")
        self.assertEqual(response.headers["retry-after"], "30")
        session = {"info": "a", "offer": "v=0"}
        self.refused(503, "full", "POST", "/go/offer", session, {"Origin": "https://a.example"})
        self.assertEqual(self.mine(self.bob), [])
        self.advance(300)
        self.good("POST", "/offers", {"offers": specs}, self.bob)


class OwnerTests(WebTestCase):
    """``/offers/mine``, heartbeat, delete."""

    def test_own_offers_show_everything(self) -> None:
        """The owner reads secret, info and who has answered when, null where there is nothing."""
        offer_id = self.publish(secret="s3cret", info="hi")
        own = {
            "id": offer_id,
            "peerId": self.alice_id,
            "sdp": "v=0",
            "topics": ["chess"],
            "expiresAt": NOW_MS + 300_000,
            "lastSeen": NOW_MS,
            "hasSecret": True,
            "createdAt": NOW_MS,
            "secret": "s3cret",
            "info": "hi",
            "whileConnected": False,
            "answererPeerId": None,
            "answeredAt": None,
        }
        body = self.good("GET", "/offers/mine", None, self.alice)
        self.assertEqual(body, {"peerId": self.alice_id, "offers": [own], "hasMore": False})
        self.server.reactor.advance(2)
        self.good("POST", f"/offers/{offer_id}/answer", {"sdp": "v=1", "secret": "s3cret"}, self.bob)
        own.update(answererPeerId=self.bob_id, answeredAt=NOW_MS + 2000)
        self.assertEqual(self.mine(), [own])
        self.assertEqual(self.mine(self.bob), [])

    def test_absent_secret_and_info_are_null(self) -> None:
        """An owner sees null for what was not given."""
        self.publish()
        offer = self.mine()[0]
        self.assertEqual((offer["secret"], offer["info"], offer["hasSecret"]), (None, None, False))

    def test_an_empty_secret_is_none(self) -> None:
        """An empty secret needs no secret to answer."""
        offer_id = self.publish(secret="")
        self.assertIs(self.mine()[0]["hasSecret"], False)
        self.answer(offer_id)

    def test_heartbeat_refreshes_last_seen_and_not_the_end(self) -> None:
        """A heartbeat moves lastSeen; the lifetime goes on."""
        offer_id = self.publish()
        self.advance(5)
        body = self.good("PUT", f"/offers/{offer_id}/heartbeat", None, self.alice)
        self.assertEqual(body, {"id": offer_id, "lastSeen": NOW_MS + 5000})
        offer = self.mine()[0]
        self.assertEqual((offer["lastSeen"], offer["expiresAt"]), (NOW_MS + 5000, NOW_MS + 300_000))

    def test_delete_ends_the_offer(self) -> None:
        """A withdrawn offer is gone at once, and the second time it is 404."""
        offer_id = self.publish()
        self.assertEqual(self.good("DELETE", f"/offers/{offer_id}", None, self.alice), {"deleted": True})
        self.assertEqual(self.mine(), [])
        self.refused(404, "not-found", "DELETE", f"/offers/{offer_id}", None, self.alice)

    def test_only_the_owner_may(self) -> None:
        """Another peer's heartbeat or delete is 403, and the offer stays as it was."""
        offer_id = self.publish()
        before = self.mine()
        self.advance(1)
        self.refused(403, "not-owner", "PUT", f"/offers/{offer_id}/heartbeat", None, self.bob)
        self.refused(403, "not-owner", "DELETE", f"/offers/{offer_id}", None, self.bob)
        self.assertEqual(self.mine(), before)

    def test_unknown_offers_are_not_found(self) -> None:
        """Whatever is done to an offer that is not there is 404 with the same words."""
        words = {
            self.refused(404, "not-found", "PUT", "/offers/x/heartbeat", None, self.alice),
            self.refused(404, "not-found", "DELETE", "/offers/x", None, self.alice),
            self.refused(404, "not-found", "POST", "/offers/x/answer", {"sdp": "v=1"}, self.alice),
            self.refused(404, "not-found", "POST", "/offers/x/ice-candidates", {"candidates": [1]}, self.alice),
            self.refused(404, "not-found", "GET", "/offers/x/ice-candidates", None, self.alice),
        }
        self.assertEqual(len(words), 1)

    def test_ids_with_awkward_characters_work_in_paths(self) -> None:
        """An id of the caller's own is reached by its percent-encoded form on every route."""
        for number, name in enumerate(["my offer", "\U0001f600", "100%", "a+b", "mine", "answers", "...", "a?b#c"]):
            path = "/offers/" + quote(name, safe="")
            self.assertEqual(self.publish(id=name, sdp=f"v={number}"), name)
            self.assertEqual(self.good("PUT", f"{path}/heartbeat", None, self.alice)["id"], name)
            self.assertEqual(self.answer(name)["offerId"], name)
            self.assertEqual(self.trickle(name, 1)["offerId"], name)
            self.assertEqual(self.good("GET", f"{path}/ice-candidates", None, self.alice)["offerId"], name)
            self.assertEqual(self.good("DELETE", path, None, self.alice), {"deleted": True})

    def test_logout_ends_the_offers(self) -> None:
        """A peer that logs out takes its own offers with it, and no others."""
        gone, stays = self.publish(), self.publish(self.bob, sdp="v=5")
        self.good("POST", "/logout", None, self.alice)
        self.assertEqual([o["id"] for o in self.good("GET", "/offers/by-topic/chess")["offers"]], [stays])
        self.refused(404, "not-found", "POST", f"/offers/{gone}/answer", {"sdp": "v=1"}, self.bob)
        self.refused(401, "unauthorized", "GET", "/offers/mine", None, self.alice)
