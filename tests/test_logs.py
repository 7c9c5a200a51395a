"""Tests of what a whole server writes to its log: what an operator needs, and never a key."""

from __future__ import annotations

import os
from typing import Any

from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.logs.lines import FORMATS, is_shown
from rendezvous.testing import SECRET, MemoryServer


def written(value: Any, depth: int = 4) -> str:
    """:returns: all that can be found in an event, in text, however it may be formatted one day."""
    parts = [repr(value), str(value)]
    if depth:
        if isinstance(value, dict):
            parts += [written(item, depth - 1) for pair in value.items() for item in pair]
        elif isinstance(value, list | tuple):
            parts += [written(item, depth - 1) for item in value]
    return "\n".join(parts)


class SecrecyTests(SynchronousTestCase):
    """Tests of a whole scenario, with everything that can go wrong in it."""

    def setUp(self) -> None:
        """Listen to the log, then start a server."""
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.server = MemoryServer(pulse_interval=3.0, error_time=5.0, registration_time=5.0)
        self.keys: list[bytes] = []
        self.credentials: list[str] = []

    def register(self) -> tuple[str, bytes, dict[str, str]]:
        """:returns: a new client, its key being remembered."""
        client = self.server.register()
        self.keys.append(client[1])
        self.credentials.append(client[2]["Authorization"])
        return client

    def use(self) -> None:
        """Do everything that a client can do, and let it fall silent."""
        client_id, key, headers = self.register()
        for datagram in (key, key.hex().encode(), b"junk " + key, key[:-1]):
            self.server.deliver(datagram)
        for what in ("", "/status", "/nope"):
            self.server.request("GET", f"/peer/{client_id}/udp{what}", headers=headers)
        self.server.request("GET", f"/peer/{client_id}/udp?key={key.hex()}", headers={"Authorization": key.hex()})
        self.server.reactor.pump([1] * 5)
        self.server.deliver(key)
        self.server.request("POST", "/verify", headers=headers)
        _, _, leaving = self.register()
        self.server.request("POST", "/logout", headers=leaving)
        self.server.request("POST", "/logout", headers=leaving)
        self.server.reactor.pump([1] * 20)
        self.server.deliver(key)
        self.server.request("POST", "/verify", headers=headers)

    def fail(self) -> None:  # type: ignore[override]
        """Have the store fail under every verb, so that tracebacks are logged."""
        client_id, key, headers = self.register()

        async def broken(*args: object) -> None:
            raise RuntimeError("the store is broken")

        store = self.server.rendezvous.store
        for verb in ("authenticate", "pulse", "sweep"):
            self.patch(store, verb, broken)
        self.server.deliver(key, ("203.0.113.5", 9))
        self.server.request("GET", f"/peer/{client_id}/udp", headers=headers)
        self.server.request("POST", "/verify", headers=headers)
        self.server.reactor.pump([1] * 2)

    def test_no_event_holds_a_key_or_a_credential(self) -> None:
        """Not in what is formatted, nor in any field, nor in a traceback: neither as hex nor as bytes."""
        self.use()
        self.fail()
        self.server.stop()
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 4)
        text = "\n".join(eventAsText(event) + written(event) for event in self.events)
        # A traceback quotes our source, which names the header; what a request holds is never spelled so.
        text = text.replace('header(request, b"Authorization")', "")
        self.assertIn("the store is broken", text)
        self.assertEqual(len(self.keys), 3)
        for key in (*self.keys, SECRET):
            for form in (key.hex(), key.hex().upper(), repr(key), repr(key)[2:-1], str(list(key))):
                self.assertNotIn(form, text)
        for credential in self.credentials:
            self.assertNotIn(credential.split(":")[1], text)
        self.assertNotIn("Authorization", text)
        self.assertNotIn("Bearer", text)

    def test_no_line_holds_a_secret_of_the_operator_or_a_ticket(self) -> None:
        """Neither the token of operators, registration tokens and the secret of TURN servers, nor what is in URLs."""
        words = {name: f"the-{name}-word-0123456789abcdef0123456789" for name in ("admin", "registration", "turn")}
        paths = {name: self.mktemp() for name in words}
        for name, path in paths.items():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
                file.write(words[name] + "\n")
        self.server.stop()
        self.server = server = MemoryServer(
            admin="tcp:5027:interface=127.0.0.1",
            admin_token_file=paths["admin"],
            registration_token_file=paths["registration"],
            turn_secret_file=paths["turn"],
            turn_uri="turn:192.0.2.1:3478",
        )
        entry = {"Authorization": f"Bearer {words['registration']}"}
        client = server.request("POST", "/register", headers=entry).json()
        headers = {"Authorization": f"Bearer {client['client_id']}:{client['private_id']}"}
        ice = server.request("GET", "/ice", headers=headers)
        ticket = server.request("POST", "/events/ticket", headers=headers).json()["ticket"]
        urls = (f"/signal?registration={words['registration']}", f"/events?ticket={ticket}", "/ice")

        def broken(request: Any) -> None:
            raise RuntimeError(f"{request!r}: {request.requestHeaders!r} {list(entry.values())}")

        self.patch(server.site.root.gate.proxies, "source", broken)
        for url in urls:
            self.assertEqual(server.request("GET", url, headers=entry).status, 500)
        server.stop()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), len(urls))
        shown = [event for event in self.events if is_shown(event)]
        text = "\n".join(line(event) for event in shown for line in FORMATS.values())
        self.assertEqual(text.count("RuntimeError: <CappedRequest"), 2 * len(urls))
        passwords = [each["credential"] for each in ice.json()["iceServers"] if "credential" in each]
        self.assertTrue(passwords)
        for secret in (*words.values(), ticket, client["private_id"], *passwords):
            self.assertNotIn(secret, text)

    def test_requests_and_pulses_write_no_line_of_their_own(self) -> None:
        """A client that does nothing wrong leaves no trace in the log until it is swept."""
        before = len(self.events)
        client_id, key, headers = self.register()
        for _ in range(5):
            self.server.deliver(key)
            self.server.request("GET", f"/peer/{client_id}/udp", headers=headers)
            self.server.request("GET", "/nope")
            self.server.reactor.advance(1)
        self.assertEqual([eventAsText(event) for event in self.events[before:]], [])
        self.server.stop()

    def test_scenario_is_told_in_counts(self) -> None:
        """An operator reads where the server listens, how many fell silent, and what was dropped."""
        self.use()
        self.server.stop()
        lines = [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in self.events]
        for line in (
            "HTTP on 0.0.0.0:5025",
            "UDP on 0.0.0.0:5024",
            "UDP on 0.0.0.0:5026",
            "dropped datagrams: {'unreadable': 2}",
            "swept: clients that had fallen silent: 1; clients that are left: 0",
        ):
            self.assertIn(line, lines)
