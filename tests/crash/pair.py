"""
Two clients that use everything, and remember what they were told.

What the server should know is the pair's *world*: a table from names to plain values. Each operation says beforehand
what it may change (:attr:`Pair.pending`); once it is acknowledged the change is part of the world. After a kill the
server must show the world as it was or, for the one operation that was in flight, as it would have been.
"""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from unittest.mock import ANY

from tests.crash.member import Member
from tests.crash.server import Server
from tests.crash.wire import Connection, Gone, Violation, ask, ask_tracker

__all__ = ["ON_TIME", "Pair", "World", "origin_of"]

ON_TIME = (1020).to_bytes(4, "big")
HOUR_MS = 3_600_000
MOST_OFFERS = 8
MOST_SESSIONS = 6
MOST_BANS = 3

World = dict[tuple[str, str], Any]
Told = tuple[str, str, str]


def origin_of(pair: str) -> str:
    """:returns: the web origin of a pair's sessions."""
    return f"https://{pair}.example"


class Pair:
    """
    A caller, who publishes and sometimes leaves, and a callee, who answers and stays.

    :ivar world: what was acknowledged.
    :ivar pending: what the operation in flight may change; ``{}`` when none is.
    :ivar heritage: the socket that the tracker knows the next caller by, and its name there.
    :ivar told: of each client, the events that acknowledged operations have caused: kind, offer, and what.
    :ivar maybe_told: those that the operation in flight may have caused.
    :ivar graves: how often each thing that has ended was looked for in vain.
    :ivar auths: the credential of each client there ever was.
    :ivar done: how many operations were acknowledged, by name.
    :ivar is_leaving: whether the caller logs out next.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.random = random.Random(seed)
        self.world: World = {}
        self.pending: World = {}
        self.told: dict[str, Counter[Told]] = {}
        self.maybe_told: list[tuple[str, Told]] = []
        self.auths: dict[str, str] = {}
        self.graves: Counter[tuple[str, str]] = Counter()
        self.caller: Member | None = None
        self.heritage: tuple[socket.socket, str | None] | None = None
        self.callee: Member | None = None
        self.done: Counter[str] = Counter()
        self.fault: Exception | None = None
        self.is_leaving = False
        self._drawn = 0
        self._deeds: list[Callable[[], None]] = [
            *[self._pulse] * 2, self._move, *[self._repeat] * 2, self._verify, *[self._publish] * 3, self._heartbeat,
            self._withdraw, *[self._answer] * 2, *[self._candidates] * 3, self._open, *[self._session_deed] * 2,
            *[self._track] * 3, self._logout_sometimes, self._ban, self._kick_sometimes,
        ]  # fmt: skip

    # The loop

    def run(self, server: Server) -> None:
        """Do one thing after the other until the server is killed; what goes wrong is kept for the caller of join."""
        self.server = server
        self.http, self._operators = Connection(server), Connection(server, server.admin_port)
        for member in (self.caller, self.callee):
            if member is not None and self.random.random() < 0.5:
                member.stream.close()  # What it does not hear now it has to be told after the restart.
        try:
            while True:
                self.caller = self.caller or self._registered()
                self.callee = self.callee or self._registered()
                if self.is_leaving:
                    self.is_leaving = False
                    self._leave()
                else:
                    self.random.choice(self._deeds)()
        except Gone:
            pass
        except Exception as e:
            self.fault = e
        finally:
            self.http.close()
            self._operators.close()

    def _act(self, name: str, tentative: World, do: Callable[[], Any], *told: tuple[str, Told]) -> Any:
        """Do one thing: in flight until it is acknowledged."""
        self.pending, self.maybe_told = tentative, list(told)
        answer = do()
        self.world |= tentative
        for peer, event in told:
            self.told[peer][event] += 1
        self.pending, self.maybe_told = {}, []
        self.done[name] += 1
        return answer

    def _new(self, what: str) -> str:
        self._drawn += 1
        return f"{self.name}-{what}-{self._drawn}-{self.random.randrange(1 << 30)}"

    @property
    def _both(self) -> tuple[Member, Member]:
        assert self.caller is not None
        assert self.callee is not None
        return self.caller, self.callee

    def offers(self, *, answered: bool | None = None) -> list[str]:
        """:returns: the ids of the offers that are there, or of those with or without an answer."""
        return [
            name
            for (kind, name), value in self.world.items()
            if kind == "offer" and value is not None and answered in (None, value["answer"] is not None)
        ]

    # Presence

    def _registered(self) -> Member:
        answer = self._act("register", {}, lambda: self.http.expect("POST", "/register"))
        self.world["client", answer["client_id"]] = None
        self.told[answer["client_id"]] = Counter()
        self.auths[answer["client_id"]] = f"{answer['client_id']}:{answer['private_id']}"
        member = Member(self.server, answer["client_id"], answer["private_id"], self.heritage)
        self.heritage = None
        return member

    def _pulse(self) -> None:
        member = self.random.choice(self._both)
        if member.at is None:
            self._move_to(member, member.new_socket(self.server))
        else:
            self._move_to(member, member.at, "pulse")

    def _move(self) -> None:
        member = self.random.choice(self._both)
        self._move_to(member, member.new_socket(self.server))

    def _repeat(self) -> None:
        """Pulse twice from a new port without waiting in between, and take the first reply for both."""
        member = self.random.choice(self._both)
        self._move_to(member, member.new_socket(self.server), "repeat", times=2)

    def _move_to(self, member: Member, port: int, name: str = "move", *, times: int = 1) -> None:
        def do() -> None:
            code = ask(self.server, member.sockets[port], member.key, times)
            if code != ON_TIME:
                raise Violation(f"{member.client_id} pulsed on time and was told {code.hex()}")

        self._act(name, {("client", member.client_id): port}, do)
        member.stay(port)

    def _verify(self) -> None:
        member = self.random.choice(self._both)
        self._act("verify", {}, lambda: self.http.expect("POST", "/verify", member.auth))

    def _logout_sometimes(self) -> None:
        if self.random.random() > 0.8:
            self._logout()

    def _leave(self) -> None:
        """Log out a caller that has an address."""
        caller, _ = self._both
        if caller.at is None:
            self._move_to(caller, caller.new_socket(self.server))
        self._logout()

    def _logout(self) -> None:
        caller, _ = self._both
        self._end_caller("logout", lambda: self.http.expect("POST", "/logout", caller.auth))

    def _kick_sometimes(self) -> None:
        if self.random.random() > 0.8:
            path = f"/clients/{self._both[0].client_id}/kick"
            self._end_caller("kick", lambda: self._operate("POST", path))

    def _end_caller(self, name: str, do: Callable[[], Any]) -> None:
        caller, callee = self._both
        ended: World = {("offer", name): None for name in self.offers()}
        told = [(callee.client_id, ("withdrawn", name, "")) for name in self.offers(answered=True)]
        tentative = {("client", caller.client_id): "gone", **ended}
        self._act(name, tentative, do, *told)
        self.bury_caller()

    def bury_caller(self) -> None:
        """Let the next caller inherit what the last one has with the tracker, which knows nothing of logouts."""
        if self.caller is not None:
            self.heritage = self.caller.tracked, self.caller.share_id
            self.caller.close()
        self.caller = None

    # An operator

    def _operate(self, method: str, path: str, body: Any = None) -> Any:
        return self._operators.expect(method, path, self.server.admin_token, body)

    def _ban(self) -> None:
        """Ban clients that never were: bans of networks would keep UDP workers from their work."""
        banned = [name for (kind, name), reason in self.world.items() if kind == "ban" and reason is not None]
        if len(banned) >= MOST_BANS:
            target = self.random.choice(banned)
            self._act("lift", {("ban", target): None}, lambda: self._operate("DELETE", f"/bans/{target}"))
            return
        target, reason = f"{self.random.getrandbits(128):032x}", self._new("reason")
        body = {"target": target, "reason": reason}
        self._act("ban", {("ban", target): reason}, lambda: self._operate("POST", "/bans", body))

    # Offers

    def _publish(self) -> None:
        caller, _ = self._both
        if len(self.offers()) >= MOST_OFFERS:
            return self._withdraw()
        name = self._new("offer")
        fields = {"sdp": self._new("sdp"), "topics": [self.name], "info": self._new("info"), "secret": self._new("key")}
        value: dict[str, Any] = {**fields, "answer": None, "lastSeen": ANY, "offerer": [], "answerer": []}
        body = {"offers": [{"id": name, "ttl": HOUR_MS, **fields}]}
        self._act("publish", {("offer", name): value}, lambda: self.http.expect("POST", "/offers", caller.auth, body))
        return None

    def _heartbeat(self) -> None:
        caller, _ = self._both
        if not self.offers():
            return
        name = self.random.choice(self.offers())
        changed = {**self.world["offer", name], "lastSeen": ANY}
        path = f"/offers/{name}/heartbeat"
        answer = self._act("heartbeat", {("offer", name): changed}, lambda: self.http.expect("PUT", path, caller.auth))
        changed["lastSeen"] = answer["lastSeen"]

    def _withdraw(self) -> None:
        caller, callee = self._both
        if not self.offers():
            return
        name = self.random.choice(self.offers())
        told = [(callee.client_id, ("withdrawn", name, ""))] if name in self.offers(answered=True) else []
        path = f"/offers/{name}"
        self._act("withdraw", {("offer", name): None}, lambda: self.http.expect("DELETE", path, caller.auth), *told)

    def _answer(self) -> None:
        caller, callee = self._both
        if not self.offers(answered=False):
            return
        name = self.random.choice(self.offers(answered=False))
        value = self.world["offer", name]
        body = {"sdp": self._new("answer"), "secret": value["secret"]}
        answer = {"sdp": body["sdp"], "answererId": callee.client_id, "answeredAt": ANY}
        told = [(caller.client_id, ("answer", name, body["sdp"]))]
        told += [(callee.client_id, ("candidate", name, text)) for text in value["offerer"]]
        path = f"/offers/{name}/answer"
        tentative = {("offer", name): {**value, "answer": answer}}
        got = self._act("answer", tentative, lambda: self.http.expect("POST", path, callee.auth, body), *told)
        answer["answeredAt"] = got["answeredAt"]

    def _candidates(self) -> None:
        caller, callee = self._both
        if not self.offers():
            return
        name = self.random.choice(self.offers())
        changed = deepcopy(self.world["offer", name])
        side = "offerer" if changed["answer"] is None else self.random.choice(["offerer", "answerer"])
        sender, receiver = (caller, callee) if side == "offerer" else (callee, caller)
        made = [self._new("candidate") for _ in range(self.random.randrange(1, 4))]
        changed[side] += made
        told = [(receiver.client_id, ("candidate", name, text)) for text in made if changed["answer"] is not None]
        path, body = f"/offers/{name}/ice-candidates", {"candidates": made}
        self._act(
            "candidates", {("offer", name): changed}, lambda: self.http.expect("POST", path, sender.auth, body), *told
        )

    # Sessions

    def _post_session(self, path: str, body: Any) -> Any:
        return self.http.expect("POST", path, None, body, Origin=origin_of(self.name))

    def _open(self) -> None:
        if sum(kind == "session" for kind, _ in self.world) >= MOST_SESSIONS:
            oldest = next(key for key in self.world if key[0] == "session")
            del self.world[oldest]
        code, offer = self._new("code"), self._new("sdp")
        value: dict[str, Any] = {"offer": offer, "answer": None, "offerer": [], "answerer": []}
        body = {"info": "a pair", "offer": offer, "code": code}
        self._act("session", {("session", code): value}, lambda: self._post_session(f"/{self.name}/offer", body))

    def _session_deed(self) -> None:
        codes = [name for kind, name in self.world if kind == "session"]
        if not codes:
            return
        code = self.random.choice(codes)
        changed = deepcopy(self.world["session", code])
        side = self.random.choice(["offerer", "answerer"])
        body = {"code": code, "side": side}
        if side == "answerer" and changed["answer"] is None:
            body["answer"] = changed["answer"] = self._new("answer")
        else:
            body["candidate"] = self._new("candidate")
            changed[side].append(body["candidate"])
        self._act("session deed", {("session", code): changed}, lambda: self._post_session("/answer", body))

    # The tracker

    def _track(self) -> None:
        member = self.random.choice(self._both)
        port = member.tracked.getsockname()[1]
        if member.share_id is None:
            answer = self._act("announce", {}, lambda: self._ask_tracker(member, action="announce"))
            member.share_id = answer["data"]["shareId"]
            self.world["tracker", str(member.share_id)] = self.world.get(("tracker port", str(port)), port)
            return
        claimed, renew = self.random.randrange(1, 65536), self.random.random() < 0.3
        request = {"action": "pulse", "override": True, "port": claimed, "shareId": renew}
        changed: World = {
            ("tracker", member.share_id): None if renew else claimed,
            ("tracker port", str(port)): claimed,
        }
        old, member.share_id = member.share_id, None if renew else member.share_id
        answer = self._act("override", changed, lambda: self._ask_tracker(member, **request))
        if answer["data"]["status"] != "0":
            raise Violation(f"the tracker refused an override of {old}: {answer}")
        if renew:
            member.share_id = str(answer["data"]["shareId"])
            self.world["tracker", member.share_id] = claimed

    def _ask_tracker(self, member: Member, **request: Any) -> Any:
        answer = ask_tracker(self.server, member.tracked, **request)
        if "data" not in answer or answer["action"] == "error":
            raise Violation(f"the tracker was asked {request} and said {answer}")
        return answer
