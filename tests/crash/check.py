"""What a server that has just been restarted knows of a pair, by the public API, against what the pair was told."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import ANY

from tests.crash.member import Member
from tests.crash.pair import ON_TIME, Pair, Told, World, origin_of
from tests.crash.server import Server
from tests.crash.wire import Connection, Violation, ask, ask_tracker, udp_socket

__all__ = ["Checker"]

#: Seconds within which an event must have come that is going to.
PATIENCE = 20.0
MARKER = "marker-"


class Checker:
    """
    A stranger to the pairs, registered anew, who looks for what should be there.

    :ivar checked: how many facts it has compared.
    """

    def __init__(self, server: Server, round_number: int) -> None:
        self.server = server
        self.checked = 0
        self._round = round_number
        self._http, self._operators = Connection(server), Connection(server, server.admin_port)
        made = self._http.expect("POST", "/register")
        self._auth = f"{made['client_id']}:{made['private_id']}"
        self._tracker = udp_socket(server)
        ask_tracker(server, self._tracker, action="announce")

    def close(self) -> None:
        """Leave."""
        self._http.expect("POST", "/logout", self._auth)
        self._http.close()
        self._operators.close()
        self._tracker.close()

    def check(self, pair: Pair) -> None:
        """
        Compare, and make the pair agree with what became of its operation in flight.

        :raises Violation: something acknowledged is lost, or something ended is back.
        """
        for member in (pair.caller, pair.callee):
            if member is not None:
                member.stream.join()
                member.drain()
        expected = {key: value for key, value in pair.world.items() if key[0] != "tracker port"}
        pending = {key: value for key, value in pair.pending.items() if key[0] != "tracker port"}
        observed = {key: self._observe(pair, *key) for key in expected | pending}
        before = {key: expected.get(key, _NOTHING[key[0]]) for key in observed}
        for key in [key for key in pending if _is_cut_in_two(before[key], pending[key], observed[key])]:
            del pending[key], pair.pending[key]
            before[key] = pair.world[key] = None
        happened = self._decide(pair, observed, before, pending)
        if happened:
            pair.world |= pair.pending
            for peer, event in pair.maybe_told:
                pair.told[peer][event] += 1
        _learn(pair, observed)
        self._withdraw_doubtful(pair, observed)
        self._check_members(pair, observed, happened)
        pair.pending, pair.maybe_told = {}, []

    def _decide(self, pair: Pair, observed: World, before: World, pending: World) -> bool:
        """:returns: whether what was in flight has happened, all of it; else none of it has."""
        self.checked += len(observed)
        wrong = {key for key in observed if observed[key] != before[key]}
        if not wrong:
            return False
        after = before | pending
        if pending and all(observed[key] == after[key] for key in observed):
            return True
        told = "\n".join(
            f"  {key}: acknowledged {before[key]}, in flight {pending.get(key, 'nothing')}, found {observed[key]}"
            for key in sorted(wrong | set(pending))
        )
        raise Violation(f"round {self._round}, {pair.name}: after the restart\n{told}")

    def _withdraw_doubtful(self, pair: Pair, observed: World) -> None:
        """Withdraw an offer whose candidates were in flight: before its answer it cannot be known whether they came."""
        for key in pair.pending:
            if key[0] == "offer" and observed[key] and not observed[key]["answer"] and pair.caller is not None:
                self._http.expect("DELETE", f"/offers/{key[1]}", pair.caller.auth)
                pair.world[key] = None

    # One fact at a time

    def _observe(self, pair: Pair, kind: str, name: str) -> Any:
        if kind == "client":
            return self._client(pair, name)
        if kind == "offer":
            return self._offer(pair, name)
        if kind == "ban":
            return self._ban(name)
        return self._session(pair, name) if kind == "session" else self._tracked(name)

    def _client(self, pair: Pair, client_id: str) -> Any:
        """The port of its last pulse, ``None`` if it never sent one, or "gone"."""
        status, answer = self._http.send("GET", f"/peer/{client_id}/udp", self._auth, None)
        own, _ = self._http.send("GET", f"/peer/{client_id}/udp/status", pair.auths[client_id], None)
        is_gone = status == 404 and answer["code"] != "no-address"
        if is_gone != (own == 401):
            raise Violation(f"{client_id} is answered {own} for itself and {status} {answer} for others")
        if is_gone:
            return "gone"
        return answer["port"] if status == 200 else None

    def _offer(self, pair: Pair, name: str) -> Any:
        status, _ = self._http.send("GET", f"/offers/{name}/ice-candidates", self._auth, None)
        if status == 404:
            return None
        caller = pair.caller
        mine = [] if caller is None else self._http.expect("GET", "/offers/mine", caller.auth)["offers"]
        found = {each["id"]: each for each in mine}.get(name)
        if caller is None or found is None:
            return "there, though its owner has left"
        answers = self._http.expect("GET", "/offers/answers", caller.auth)["answers"]
        answer = {each["offerId"]: each for each in answers}.get(name)
        return {
            **{field: found[field] for field in ("sdp", "topics", "info", "secret", "lastSeen")},
            "answer": answer and {field: answer[field] for field in ("sdp", "answererId", "answeredAt")},
            "answerer": self._candidates(name, caller),
            # Until there is an answer no peer may read the offerer's.
            "offerer": self._candidates(name, pair.callee) if answer and pair.callee else ANY,
        }

    def _candidates(self, name: str, reader: Member) -> list[Any]:
        found = self._http.expect("GET", f"/offers/{name}/ice-candidates", reader.auth)["candidates"]
        return [each["candidate"] for each in found]

    def _ban(self, target: str) -> Any:
        """:returns: the reason of a ban; ``None`` if there is none."""
        bans = self._operators.expect("GET", "/bans", self.server.admin_token)["bans"]
        return next((each["reason"] for each in bans if each["target"] == target), None)

    def _session(self, pair: Pair, code: str) -> Any:
        found: dict[str, Any] = {}
        for side in ("offerer", "answerer"):
            body = {"code": code, "side": side}
            status, answer = self._http.send("POST", "/poll", None, body, Origin=origin_of(pair.name))
            if status == 404:
                return None
            found |= answer
        return {
            "offer": found["offer"],
            "answer": found["answer"],
            "offerer": found["offerCandidates"],
            "answerer": found["answerCandidates"],
        }

    def _tracked(self, share_id: str) -> Any:
        """:returns: the recorded port of the peer with this name."""
        answer = ask_tracker(self.server, self._tracker, action="push", shareId=share_id)
        return None if answer["action"] == "error" else int(answer["data"]["peeraddr"].rpartition(":")[2])

    # Clients that go on

    def _check_members(self, pair: Pair, observed: World, happened: bool) -> None:
        if pair.caller is not None and observed["client", pair.caller.client_id] == "gone":
            pair.bury_caller()
        for member in (pair.caller, pair.callee):
            if member is not None:
                self._check_pulse(member, observed["client", member.client_id])
                self._check_events(pair, member, happened)

    def _check_pulse(self, member: Member, port: int | None) -> None:
        member.stay(port)
        if port is None:
            return
        status = self._http.expect("GET", f"/peer/{member.client_id}/udp/status", self._auth)["status"]
        code = ask(self.server, member.sockets[port], member.key)
        if (status, code) != ("ONLINE", ON_TIME):
            raise Violation(f"{member.client_id} is {status} after the restart, and its pulse got {code.hex()}")
        self.checked += 2

    def _check_events(self, pair: Pair, member: Member, happened: bool) -> None:
        stream = member.stream
        stream.resume(self.server)
        marker = f"{MARKER}{member.client_id}-{self._round}"
        self._mark(marker, member, is_caller=member is pair.caller)
        late = time.monotonic() + PATIENCE
        while not any(data.get("offerId") == marker for _, _, data in stream.seen):
            if time.monotonic() > late:
                raise Violation(f"{member.client_id} did not hear of {marker} on its stream")
            time.sleep(0.005)
        numbers = [number for number, _, _ in stream.seen]
        if numbers != sorted(set(numbers)) or any(kind == "reset" for _, kind, _ in stream.seen):
            raise Violation(f"the stream of {member.client_id} is out of order or was reset: {stream.seen}")
        seen = [_told(kind, data) for _, kind, data in stream.seen if not data["offerId"].startswith(MARKER)]
        told = pair.told[member.client_id]
        maybe = [] if happened else [event for peer, event in pair.maybe_told if peer == member.client_id]
        lost, extra = told.copy(), told.copy()
        lost.subtract(seen)
        extra.subtract([*seen])
        for event in maybe:
            extra[event] += 1
        if +lost or -extra:
            raise Violation(
                f"round {self._round}, {pair.name}: the stream of {member.client_id} missed {dict(+lost)} and had"
                f" {dict(-extra)} more than happened"
            )
        self.checked += len(seen)
        # What was seen is not looked at again, but its numbers: the next ones are greater.
        told.clear()
        stream.seen = [(numbers[-1], "seen", {"offerId": MARKER})]

    def _mark(self, marker: str, member: Member, *, is_caller: bool) -> None:
        """Let something happen that the member will be told."""
        owner, answerer = (member.auth, self._auth) if is_caller else (self._auth, member.auth)
        body = {"offers": [{"id": marker, "sdp": marker, "topics": [MARKER]}]}
        self._http.expect("POST", "/offers", owner, body)
        self._http.expect("POST", f"/offers/{marker}/answer", answerer, {"sdp": marker})
        self._http.expect("DELETE", f"/offers/{marker}", owner)


#: What is found of something that never was.
_NOTHING: dict[str, Any] = {"client": "gone", "offer": None, "session": None, "tracker": None, "ban": None}


def _is_cut_in_two(before: Any, pending: Any, found: Any) -> bool:
    """:returns: whether a move from one port to another was being written at the kill; then there is no address."""
    return isinstance(before, int) and isinstance(pending, int) and found is None


def _told(kind: str, data: Any) -> Told:
    return kind, data["offerId"], str(data.get("sdp", data.get("candidate", "")))


def _learn(pair: Pair, observed: World) -> None:
    """Remember the times that no answer contained, and forget what has been found ended."""
    for key, found in observed.items():
        held = pair.world.get(key)
        if key[0] == "offer" and held is not None:
            held["lastSeen"] = found["lastSeen"]
            held["answer"] = found["answer"]
        if found in (None, "gone") and not (key[0] == "client" and found is None):
            pair.graves[key] = pair.graves.get(key, 0) + 1
            if pair.graves[key] > 2:
                pair.world.pop(key, None)
                del pair.graves[key]
