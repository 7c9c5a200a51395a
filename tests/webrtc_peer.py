"""
A WebRTC peer that knows a server's URL and a topic, and nothing else.

``python -m tests.webrtc_peer DIALECT ROLE URL TOPIC`` meets the peer of the other role, opens a data channel with it,
exchanges messages, and prints as JSON what it has received. Descriptions are sent without candidates, and these one by
one after them, as a browser that trickles does. With ``relay`` as a fifth argument it takes the ICE servers that the
server names, and offers no candidate but those of TURN.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator
from typing import Any, Protocol
from urllib.parse import quote

import aioice.ice
from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.sdp import candidate_from_sdp

#: Seconds that one request waits for news: short, so that a peer that is done can end.
WAIT = 2


async def ask(method: str, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """Send a request; give the JSON of its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)

    def send() -> Any:
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)

    return await asyncio.to_thread(send)


class Signaling(Protocol):
    """What two peers need of a server, whatever the dialect."""

    async def offer(self, sdp: str) -> None:
        """Publish an offer."""

    async def wait_for_answer(self) -> str:
        """Wait for the answer to it."""

    async def find_offer(self) -> str:
        """Find the other peer's offer."""

    async def answer(self, sdp: str) -> None:
        """Answer it."""

    async def send(self, candidate: Any) -> None:
        """Send one candidate of ours."""

    def receive(self) -> AsyncIterator[Any]:
        """Give the other side's candidates as they come, for ever."""


class Offers:
    """The offers dialect."""

    def __init__(self, url: str, topic: str) -> None:
        self.url, self.topic = url, topic
        self.headers: dict[str, str] = {}
        self.path = ""

    async def register(self) -> None:
        """Become a client."""
        made = await ask("POST", f"{self.url}/register")
        self.headers = {"Authorization": f"Bearer {made['peerId']}:{made['secret']}"}

    async def offer(self, sdp: str) -> None:
        """Publish an offer."""
        await self.register()
        offers = [{"sdp": sdp, "topics": [self.topic], "ttl": 60_000}]
        published = await ask("POST", f"{self.url}/offers", {"offers": offers}, self.headers)
        self.path = f"{self.url}/offers/{published['offers'][0]['id']}"

    async def wait_for_answer(self) -> str:
        """Wait for the answer to it."""
        while True:
            found = await ask("GET", f"{self.url}/offers/answers?wait={WAIT}", None, self.headers)
            for answer in found["answers"]:
                return str(answer["sdp"])

    async def find_offer(self) -> str:
        """Find the other peer's offer."""
        await self.register()
        while True:
            listing = await ask("GET", f"{self.url}/offers/by-topic/{quote(self.topic, safe='')}")
            for offer in listing["offers"]:
                self.path = f"{self.url}/offers/{offer['id']}"
                return str(offer["sdp"])
            await asyncio.sleep(0.1)

    async def answer(self, sdp: str) -> None:
        """Answer it."""
        await ask("POST", f"{self.path}/answer", {"sdp": sdp}, self.headers)

    async def send(self, candidate: Any) -> None:
        """Send one candidate of ours."""
        await ask("POST", f"{self.path}/ice-candidates", {"candidates": [candidate]}, self.headers)

    async def receive(self) -> AsyncIterator[Any]:
        """Give the other side's candidates as they come, for ever."""
        since = 0
        while True:
            found = await ask("GET", f"{self.path}/ice-candidates?since={since}&wait={WAIT}", None, self.headers)
            for entry in found["candidates"]:
                since = entry["createdAt"]
                yield entry["candidate"]


class Sessions:
    """The sessions dialect."""

    def __init__(self, url: str, topic: str) -> None:
        self.url, self.topic = url, quote(topic, safe="")
        self.headers = {"Origin": "https://app.example"}
        self.code = self.side = ""

    async def offer(self, sdp: str) -> None:
        """Open a session."""
        body = {"info": "aiortc", "offer": sdp}
        opened = await ask("POST", f"{self.url}/{self.topic}/offer", body, self.headers)
        self.code, self.side = opened["code"], "offerer"

    async def poll(self, since: int) -> Any:
        """Wait for what comes after a number."""
        body = {"code": self.code, "side": self.side, "wait": WAIT, "since": since}
        return await ask("POST", f"{self.url}/poll", body, self.headers)

    async def wait_for_answer(self) -> str:
        """Wait for the answer."""
        latest = 0
        while True:
            found = await self.poll(latest)
            if found["answer"] is not None:
                return str(found["answer"])
            latest = found["latest"]

    async def find_offer(self) -> str:
        """Find the other peer's session."""
        while True:
            listing = await ask("GET", f"{self.url}/{self.topic}/sessions", None, self.headers)
            for session in listing["sessions"]:
                self.code, self.side = session["code"], "answerer"
                return str(session["offer"])
            await asyncio.sleep(0.1)

    async def answer(self, sdp: str) -> None:
        """Answer it."""
        body = {"code": self.code, "side": self.side, "answer": sdp}
        await ask("POST", f"{self.url}/answer", body, self.headers)

    async def send(self, candidate: Any) -> None:
        """Send one candidate of ours."""
        body = {"code": self.code, "side": self.side, "candidate": candidate}
        await ask("POST", f"{self.url}/answer", body, self.headers)

    async def receive(self) -> AsyncIterator[Any]:
        """Give the other side's candidates as they come, for ever."""
        latest = seen = 0
        field = "answerCandidates" if self.side == "offerer" else "offerCandidates"
        while True:
            found = await self.poll(latest)
            latest = found["latest"]
            for candidate in found[field][seen:]:
                yield candidate
            seen = len(found[field])


def split(sdp: str) -> tuple[str, list[Any]]:
    """
    Take the candidates out of a description.

    :returns: the description without them, and them as browsers write them.
    """
    kept, candidates, mid, index = [], [], "", -1
    lines = sdp.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("m="):
            index += 1
            mid = next(found[len("a=mid:") :] for found in lines[number:] if found.startswith("a=mid:"))
        if line.startswith("a=candidate:"):
            candidates.append({"candidate": line.removeprefix("a="), "sdpMid": mid, "sdpMLineIndex": index})
        elif line != "a=end-of-candidates":
            kept.append(line)
    return "".join(f"{line}\r\n" for line in kept), candidates


async def trickle_in(connection: RTCPeerConnection, signaling: Signaling) -> None:
    """Hand every candidate of the other side to the connection."""
    async for fields in signaling.receive():
        candidate = candidate_from_sdp(fields["candidate"].removeprefix("candidate:"))
        candidate.sdpMid, candidate.sdpMLineIndex = fields["sdpMid"], fields["sdpMLineIndex"]
        await connection.addIceCandidate(candidate)


async def described(connection: RTCPeerConnection, description: RTCSessionDescription) -> tuple[str, list[Any]]:
    """Take a description as our own, which gathers candidates; give both, apart."""
    await connection.setLocalDescription(description)
    return split(connection.localDescription.sdp)


class Chat:
    """
    What is said over the channel: ``hello``, an answer to it, ``bye``.

    :ivar heard: what the other side has said.
    :ivar over: set when all has been heard.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.over = asyncio.Event()

    def begin(self, channel: RTCDataChannel) -> None:
        """Speak first, on a channel of ours."""
        channel.on("open", lambda: channel.send("hello from the offerer"))

        def reply(message: str) -> None:
            self.heard.append(message)
            channel.send("bye \U0001f600")

        channel.on("message", reply)
        channel.on("close", self.over.set)

    def listen(self, channel: RTCDataChannel) -> None:
        """Answer, on a channel of the other side's."""

        def reply(message: str) -> None:
            self.heard.append(message)
            if message.startswith("hello"):
                channel.send("hello from the answerer")
            else:
                self.over.set()

        channel.on("message", reply)


async def offer(connection: RTCPeerConnection, signaling: Signaling, chat: Chat) -> None:
    """Be found, and be answered."""
    chat.begin(connection.createDataChannel("chat"))
    sdp, candidates = await described(connection, await connection.createOffer())
    await signaling.offer(sdp)
    # Half of them before anybody has answered, the others while the other side is connecting already.
    half = len(candidates) // 2
    for candidate in candidates[:half]:
        await signaling.send(candidate)
    await connection.setRemoteDescription(RTCSessionDescription(await signaling.wait_for_answer(), "answer"))
    for candidate in candidates[half:]:
        await signaling.send(candidate)


async def answer(connection: RTCPeerConnection, signaling: Signaling, chat: Chat) -> None:
    """Find an offer, and answer it."""
    connection.on("datachannel", chat.listen)
    await connection.setRemoteDescription(RTCSessionDescription(await signaling.find_offer(), "offer"))
    sdp, candidates = await described(connection, await connection.createAnswer())
    await signaling.answer(sdp)
    for candidate in candidates:
        await signaling.send(candidate)


async def relay_only(url: str) -> RTCConfiguration:
    """Ask the server for ICE servers, as a client of its own; give what ``new RTCPeerConnection()`` would take."""
    made = await ask("POST", f"{url}/register")
    answer = await ask("GET", f"{url}/ice", None, {"Authorization": f"Bearer {made['client_id']}:{made['private_id']}"})
    servers = [RTCIceServer(**entry) for entry in answer["iceServers"]]
    return RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY)


def candidate_types(connection: RTCPeerConnection) -> set[str]:
    """:returns: the types of the candidates on both sides."""
    descriptions = (connection.localDescription.sdp, connection.remoteDescription.sdp)
    lines = [line for sdp in descriptions for line in sdp.splitlines() if line.startswith("a=candidate:")]
    return {line.split(" typ ")[1].split()[0] for line in lines}


async def main(dialect: str, role: str, url: str, topic: str, policy: str = "all") -> None:
    """Meet, talk, and say what was heard."""
    signaling: Signaling = Offers(url, topic) if dialect == "offers" else Sessions(url, topic)
    configuration = await relay_only(url) if policy == "relay" else RTCConfiguration(iceServers=[])
    connection, chat = RTCPeerConnection(configuration), Chat()
    await (offer if role == "offerer" else answer)(connection, signaling, chat)
    trickling = asyncio.create_task(trickle_in(connection, signaling))
    await chat.over.wait()
    if policy == "relay":
        assert candidate_types(connection) == {"relay"}, candidate_types(connection)
    await connection.close()
    trickling.cancel()
    print(json.dumps(chat.heard))  # noqa: T201 - this is how it reports


if __name__ == "__main__":
    # Both peers are on this machine, and it may have no other network.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    asyncio.run(main(*sys.argv[1:]))
