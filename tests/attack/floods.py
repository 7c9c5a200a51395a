"""Floods of requests that are each in order, and what they leave of the tables."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Generator, Sequence

from tests.attack.field import MIB, Field, attack
from tests.attack.load import ONE, Answer, Script, addresses, fetch, flood, request

__all__ = ["identities", "publishing"]

HOUR_MS = 3_600_000
#: Small tables, so that a flood fills them in a moment.
SMALL_CLIENTS, SMALL_OFFERS = 3000, 3000
FULL = "https://full.test"


def registering() -> Generator[bytes, Answer, None]:
    """Register."""
    yield request("POST", "/register")


def coming_and_going() -> Generator[bytes, Answer, None]:
    """Register, and log out."""
    answer = yield request("POST", "/register")
    if answer.status == 200:
        yield request("POST", "/logout", auth=f"{answer.json['client_id']}:{answer.json['private_id']}")


def publishing() -> Generator[bytes, Answer, None]:
    """Register, and publish as many offers in as many topics for as long as one client may."""
    answer = yield request("POST", "/register")
    if answer.status != 200:
        return
    auth = f"{answer.json['client_id']}:{answer.json['private_id']}"
    for _ in range(10):
        topics = [f"{random.randrange(1 << 40):x}" for _ in range(20)]
        offers = [{"sdp": f"{random.random()}", "topics": topics, "ttl": HOUR_MS} for _ in range(10)]
        yield request("POST", "/offers", json.dumps({"offers": offers}).encode(), auth)


def opening() -> Generator[bytes, Answer, None]:
    """Open a session under an Origin that was never heard of."""
    origin = f"https://{random.randrange(1 << 40):x}.test"
    yield request("POST", "/t/offer", b'{"info": "", "offer": "v=0"}', Origin=origin)


def identities(port: int, source: str, count: int) -> list[str]:
    """:returns: so many credentials, or as many as the source is given."""
    made = []
    for _ in range(count):
        answer = fetch(port, request("POST", "/register"), source)
        if answer.status != 200:
            break
        made.append(f"{answer.json['client_id']}:{answer.json['private_id']}")
    return made


def _flood(field: Field, script: Script, sources: Sequence[str] = ONE) -> Counter[str]:
    counts = flood(field.http, script, field.seconds, sources=sources)
    field.note(f"answers: {dict(sorted(counts.items()))}")
    return counts


@attack("registrations", memory=128 * MIB)
def registrations(field: Field) -> None:
    """One address registers as fast as it can."""
    _flood(field, registering)


@attack("registrations-full", quick=True, options=(f"--max-clients={SMALL_CLIENTS}",))
def registrations_full(field: Field) -> None:
    """One address fills a small table of clients."""
    _flood(field, registering)
    field.stranger_gets_in()


@attack("registrations-site", options=(f"--max-clients={SMALL_CLIENTS}",))
def registrations_site(field: Field) -> None:
    """A whole /24 fills a small table of clients."""
    _flood(field, registering, addresses(250, 1))
    field.stranger_gets_in()


@attack("logouts-full", options=(f"--max-clients={SMALL_CLIENTS}",))
def logouts(field: Field) -> None:
    """One address registers and logs out, so that remembered logouts fill up."""
    _flood(field, coming_and_going)
    field.stranger_gets_in()


@attack("logouts-many", options=(f"--max-clients={SMALL_CLIENTS}",))
def logouts_many(field: Field) -> None:
    """Two hundred addresses register and log out, so that remembered logouts fill up."""
    _flood(field, coming_and_going, addresses(200))
    field.stranger_gets_in()


@attack("offers", memory=256 * MIB)
def offers(field: Field) -> None:
    """One address publishes offers of 20 topics for an hour, under ever new identities."""
    _flood(field, publishing)


@attack("offers-full", memory=128 * MIB, options=(f"--max-offers={SMALL_OFFERS}",))
def offers_full(field: Field) -> None:
    """One address fills a small table with offers."""
    _flood(field, publishing)
    field.stranger_gets_in()


@attack("sessions-full", quick=True, options=(f"--max-offers={SMALL_OFFERS}",))
def sessions_full(field: Field) -> None:
    """One address fills a small table with sessions of Origins that it invents."""
    _flood(field, opening)
    field.stranger_gets_in()


@attack("sessions-spread", memory=256 * MIB)
def sessions_spread(field: Field) -> None:
    """Fifty addresses in as many /24s open sessions."""
    _flood(field, opening, addresses(50))


def filling() -> Generator[bytes, Answer, None]:
    """Open a session as large as it may be, with as many candidates as it may have."""
    code = f"{random.randrange(1 << 60):x}"
    yield request(
        "POST", "/t/offer", json.dumps({"code": code, "info": "", "offer": "v" * 65_536}).encode(), Origin=FULL
    )
    body = json.dumps({"code": code, "side": "offerer", "candidate": "c" * 4_000}).encode()
    for _ in range(256):
        answer = yield request("POST", "/answer", body, Origin=FULL)
        if answer.status != 200:
            return


@attack("signaling-memory", memory=160 * MIB)
def signaling_memory(field: Field) -> None:
    """One address fills sessions with offers and candidates as large as they may be."""
    _flood(field, filling)
    field.stranger_gets_in()


@attack("signaling-memory-spread", memory=192 * MIB, options=("--max-signaling-memory=64M",))
def signaling_memory_spread(field: Field) -> None:
    """Two hundred addresses fill sessions, and 64 MiB are all that signaling may have."""
    _flood(field, filling, addresses(200))


@attack("bloom", quick=True, memory=128 * MIB, least=4.0)
def bloom(field: Field) -> None:
    """A filter of all ones over five thousand offers of one topic, four connections."""
    published = itertools.count()
    for number, source in enumerate(addresses(50)):
        for auth in identities(field.http, source, 1):
            for _ in range(10):
                offers = [{"sdp": f"{number} {next(published)}", "topics": ["bloom"]} for _ in range(10)]
                fetch(field.http, request("POST", "/offers", json.dumps({"offers": offers}).encode(), auth), source)
    ones = "/" * (8192 * 4 // 3) + "8="
    asked = request("GET", f"/offers/by-topic/bloom?bloom={ones}")

    def asking() -> Generator[bytes, Answer, None]:
        yield asked

    field.note(f"{next(published)} offers in the topic")
    counts = flood(field.http, asking, field.seconds, connections=4)
    field.note(f"answers: {dict(sorted(counts.items()))}")


def connecting(peer: str) -> Script:
    """:returns: a script that registers, and begins attempts to connect to a peer until it is refused."""

    def script() -> Generator[bytes, Answer, None]:
        answer = yield request("POST", "/register")
        if answer.status != 200:
            return
        auth = f"{answer.json['client_id']}:{answer.json['private_id']}"
        for _ in range(7):
            answer = yield request("POST", f"/peer/{peer}/connect", b"{}", auth)
            if answer.status == 201:
                yield request("DELETE", f"/attempts/{answer.json['attempt']}", b"", auth)

    return script


def inviting() -> Generator[bytes, Answer, None]:
    """Register two clients, and let one invite the other as often as it may, with as many candidates as it may name."""
    made = []
    for _ in range(2):
        answer = yield request("POST", "/register")
        if answer.status != 200:
            return
        made.append(answer.json)
    auth = f"{made[0]['client_id']}:{made[0]['private_id']}"
    candidates = [{"kind": "mapped", "host": f"2001:db8::{number:x}", "port": 5000} for number in range(10)]
    body = json.dumps({"candidates": candidates}).encode()
    for _ in range(5):
        yield request("POST", f"/peer/{made[1]['client_id']}/connect", body, auth)


@attack("attempts-full", quick=True, options=(f"--max-attempts={SMALL_OFFERS}",))
def attempts_full(field: Field) -> None:
    """One address fills a small table of attempts to connect."""
    _flood(field, inviting)
    field.stranger_gets_in()
    field.strangers_connect()


@attack("attempts-spread", memory=256 * MIB)
def attempts_spread(field: Field) -> None:
    """Two hundred addresses begin attempts to connect, each with as many candidates as it may name."""
    _flood(field, inviting, addresses(200))


@attack("invitations")
def invitations(field: Field) -> None:
    """One address invites one client and takes it back, over and over, under ever new identities."""
    [auth] = identities(field.http, "127.0.9.2", 1)
    victim = auth.partition(":")[0]
    _flood(field, connecting(victim))
    waiting = fetch(field.http, request("GET", "/attempts", b"", auth), "127.0.9.2")
    count = len(waiting.json["attempts"])
    field.expect(f"{count} invitations wait at the client, and 4 are allowed", holds=count <= 4)
    field.strangers_connect(auth)
