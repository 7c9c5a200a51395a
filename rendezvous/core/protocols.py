"""The protocols that share the server's ports."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Protocol"]


class Protocol(StrEnum):
    """
    A protocol, or the demo, that can be turned off; the value is its name in settings, routes and documentation.

    A member is a text, so it is quick to look up in a dictionary.
    """

    #: Pulses over UDP, and over HTTP what hole punchers ask.
    RENDEZVOUS = "rendezvous"
    #: WebRTC signaling by topic, over HTTP.
    OFFERS = "offers"
    #: WebRTC signaling by code, over HTTP.
    SESSIONS = "sessions"
    #: Peers that use nothing but one UDP socket.
    TRACKER = "tracker"
    #: Binding requests over UDP (RFC 8489).
    STUN = "stun"
    #: Coordinated punching: attempts, observations and ICE servers.
    CONNECT = "connect"
    #: Messages to the subscribers of a topic, over WebSockets: y-webrtc and trystero.
    SIGNAL = "signal"
    #: What the library PeerJS expects of its server.
    PEERJS = "peerjs"
    #: A page that shows what a browser can do with the server. It uses the offers protocol.
    DEMO = "demo"
