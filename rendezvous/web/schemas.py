"""
What the JSON of every route looks like, in JSON Schema (draft 2020-12), by the names that the tables of routes use.

Every bound comes from :mod:`rendezvous.limits`. JSON Schema counts characters where a limit is in bytes of UTF-8; there
it gives the characters that can fit at most, and the description says what is meant. Objects are open:
readers must ignore keys that are not listed.
"""

from __future__ import annotations

from rendezvous.core.signaling.watches import Gone
from rendezvous.core.tickets import TICKET_CHARS
from rendezvous.limits import SignalingLimits
from rendezvous.web.attemptschemas import connect_schemas
from rendezvous.web.schemaparts import (
    ANY,
    AT_LEAST_ONE,
    CLIENT_ID,
    COUNT,
    DURATION,
    KEY,
    MORE,
    MS,
    NEXT,
    SECONDS,
    TEXT,
    TRUE,
    WAIT,
    Schema,
    many,
    nullable,
    paged,
    record,
    ref,
    text,
    whole,
)  # fmt: skip

__all__ = ["Schema", "error_schema", "schemas"]


def sdp(limits: SignalingLimits) -> Schema:
    """:returns: a session description in a request."""
    return text(1, limits.sdp_size, f"At most {limits.sdp_size} bytes of UTF-8.")


def candidate(limits: SignalingLimits) -> Schema:
    """:returns: a candidate in a request."""
    return {
        "description": f"Any JSON, at most {limits.candidate_size} bytes when compact, and nested at most"
        f" {limits.candidate_depth} deep."
    }


def error_schema() -> Schema:
    """:returns: the body of every error."""
    return record(
        optional=("request_id",),
        ok={"const": False},
        error={**TEXT, "description": "One plain sentence, for people."},
        code={"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$", "description": "A stable word, for programs."},
        request_id={
            "type": "string",
            "pattern": "^[0-9a-f]{16}$",
            "description": "With a status of 500 or more: what the operator can search the log for.",
        },
    )


def schemas(limits: SignalingLimits) -> dict[str, Schema]:
    """:returns: every schema that a route names, and those that they refer to."""
    return {
        **_presence(),
        **_offer_requests(limits),
        **_offer_answers(limits),
        **_session_requests(limits),
        **_session_answers(limits),
        **connect_schemas(),
        "Signal": record(ok=TRUE, protocols=many(TEXT)),
        "PeerIds": many(TEXT),
    }


def _facts() -> dict[str, Schema]:
    """:returns: what a client has to know of the protocols (:class:`rendezvous.web.facts.Facts`)."""
    times = ("pulseInterval", "pulseGrace", "errorTime", "registrationTime")
    counts = (
        *("sdpSize", "ttlDefaultMs", "ttlMinMs", "ttlMaxMs", "offersPerRequest", "offersPerPeer", "topicsPerOffer"),
        *("topicChars", "candidateSize", "candidatesPerRequest", "candidatesPerSide"),
    )
    limits = {**dict.fromkeys(counts, COUNT), "sessionLifetime": DURATION}
    return {
        **dict.fromkeys(times, DURATION),
        "udpPorts": many({"type": "integer", "minimum": 0, "maximum": 65535}),
        "limits": {"type": "object", "required": list(limits), "properties": limits},
    }


def _presence() -> dict[str, Schema]:
    return {
        "Root": {"anyOf": [ref("About"), ref("SessionTopics")]},
        "About": record((), version=TEXT, name=TEXT, description=TEXT, **_facts()),
        "Health": record(status={"const": "ok"}, timestamp=MS, version=TEXT),
        "Ready": record(status={"const": "ready"}, timestamp=MS, version=TEXT),
        "Description": {"type": "object", "description": "An OpenAPI document."},
        "Identity": record(
            (),
            client_id=CLIENT_ID,
            private_id=KEY,
            peerId=CLIENT_ID,
            secret=KEY,
            timestamp=SECONDS,
            ok=TRUE,
            **_facts(),
        ),
        "Verified": record(client_id=CLIENT_ID, timestamp=SECONDS, ok=TRUE),
        "LoggedOut": record(client_id=CLIENT_ID, ok=TRUE),
        "Address": record(
            client_id=CLIENT_ID,
            host={**TEXT, "description": "An IPv4 or IPv6 address."},
            port={"type": "integer", "minimum": 1, "maximum": 65535},
            timestamp=SECONDS,
            ok=TRUE,
        ),
        "Status": record(
            client_id=CLIENT_ID,
            status={"enum": ["ONLINE", "PENDING"]},
            last_online={"type": ["number", "null"], "minimum": 0, "description": "Seconds since the last pulse."},
            timestamp=SECONDS,
            ok=TRUE,
        ),
    }


def _offer_requests(limits: SignalingLimits) -> dict[str, Schema]:
    ttl = f"Milliseconds, brought into {limits.ttl_min_ms} … {limits.ttl_max_ms}."
    new_offer = record(
        sdp=sdp(limits),
        topics=many(text(1, limits.topic_chars), minItems=1, maxItems=limits.topics_per_offer),
        ttl={"type": ["integer", "null"], "default": limits.ttl_default_ms, "description": ttl},
        secret=nullable(text(0, limits.secret_chars, "An empty one is none.")),
        info=nullable(text(0, limits.info_chars)),
        id={
            **nullable(text(1, limits.id_chars, "By default derived from sdp and topics.")),
            "not": {
                "anyOf": [
                    {"enum": [".", "..", "by-topic"]},
                    {"type": "string", "pattern": r"[/\\\u0000-\u001f\u007f]"},
                ]
            },
        },
        whileConnected={
            "type": ["boolean", "null"],
            "default": False,
            "description": "Whether the offer ends soon after the last event stream of its owner.",
        },
        optional=("ttl", "secret", "info", "id", "whileConnected"),
    )
    return {
        "NewOffer": new_offer,
        "Publication": record(offers=many(ref("NewOffer"), minItems=1, maxItems=limits.offers_per_request)),
        "AnswerToOffer": record(
            sdp=sdp(limits),
            secret={"type": ["string", "null"], "description": "Needed if the offer has one."},
            optional=("secret",),
        ),
        "NewCandidates": record(candidates=many(candidate(limits), minItems=1, maxItems=limits.candidates_per_request)),
    }


def _offers(limits: SignalingLimits) -> dict[str, Schema]:
    """:returns: an offer as everybody is shown it, and as its owner is."""
    public: dict[str, Schema] = {
        "id": TEXT,
        "peerId": CLIENT_ID,
        "sdp": TEXT,
        "topics": many(TEXT, minItems=1, maxItems=limits.topics_per_offer),
        "expiresAt": MS,
        "lastSeen": MS,
        "hasSecret": {"type": "boolean"},
        "info": TEXT,
    }
    own: dict[str, Schema] = {
        "createdAt": MS,
        "secret": nullable(TEXT),
        "info": nullable(TEXT),
        "whileConnected": {"type": "boolean"},
        "answererPeerId": nullable(CLIENT_ID),
        "answeredAt": nullable(MS),
    }
    return {
        "Offer": record(optional=("info",), **public),
        "OwnOffer": record((), **{**public, **own}),
    }


def _offer_answers(limits: SignalingLimits) -> dict[str, Schema]:
    listing = record(
        topics=many(record(topic=TEXT, activePeers=COUNT, count=COUNT), maxItems=limits.page_max),
        total=COUNT,
        limit={"type": "integer", "minimum": 1, "maximum": limits.page_max},
        offset=COUNT,
        pagination=ref("Pagination"),
        startsWith=TEXT,
        optional=("startsWith",),
    )
    return {
        **_offers(limits),
        "OfferTopics": listing,
        "Topics": {"anyOf": [ref("OfferTopics"), ref("SessionTopics")]},
        "OffersInTopic": _offers_in_topic(limits),
        "Ticket": record(
            ticket={"type": "string", "pattern": f"^[A-Za-z0-9_-]{{{TICKET_CHARS}}}$"},
            expires={**MS, "description": "When it is no longer good, in milliseconds since the epoch."},
        ),
        "OffersOfPeer": paged(peerId=TEXT, offers=many(ref("Offer")), topics=many(TEXT)),
        "Published": record(offers=many(record(id=TEXT, peerId=CLIENT_ID, topics=many(TEXT), expiresAt=MS))),
        "OwnOffers": paged(peerId=CLIENT_ID, offers=many(ref("OwnOffer"))),
        "Seen": record(id=TEXT, lastSeen=MS),
        "Deleted": record(deleted=TRUE),
        "Answered": record(offerId=TEXT, answererId=CLIENT_ID, answeredAt=MS),
        "Answer": record(offerId=TEXT, answererId=CLIENT_ID, sdp=TEXT, answeredAt=MS, topics=many(TEXT)),
        "Answers": paged(answers=many(ref("Answer"))),
        "CandidatesAdded": record(
            offerId=TEXT, candidatesAdded={"type": "integer", "minimum": 1, "maximum": limits.candidates_per_request}
        ),
        "Candidate": record(candidate=ANY, peerId=CLIENT_ID, role=ref("Side"), createdAt=MS),
        "Candidates": paged(offerId=TEXT, candidates=many(ref("Candidate"), maxItems=limits.candidates_per_side)),
    }


def _offers_in_topic(limits: SignalingLimits) -> Schema:
    """:returns: a page of a topic; with ``since`` or ``wait``, what has changed there."""
    return record(
        topic=TEXT,
        offers=many(ref("Offer"), maxItems=limits.page_max),
        total={**COUNT, "description": "Of the whole listing. It is absent if reset is false."},
        returned={**COUNT, "maximum": limits.page_max},
        hasMore=MORE,
        next=NEXT,
        since={"type": "string", "pattern": "^[0-9]{1,19}$", "description": "To be sent as since by the next request."},
        reset={"type": "boolean", "description": "Whether offers is the listing from its beginning."},
        gone=many(record(offerId=TEXT, reason={"enum": [*Gone]})),
        optional=("total", "next", "since", "reset", "gone"),
    )


def _session_requests(limits: SignalingLimits) -> dict[str, Schema]:
    name = nullable(text(0, limits.session_info_chars))
    given: Schema = {"type": "string"}
    # In this protocol a field that is null counts as absent, so the other field is used.
    some: Schema = {"type": ["string", "number", "boolean", "object", "array"]}
    nothing: Schema = {"type": "null"}
    return {
        "Side": {"enum": ["offerer", "answerer"]},
        "NewSession": {
            **record(
                info=name,
                peerId={**name, "description": "The same as info, by its older name."},
                offer=sdp(limits),
                code=nullable(text(1, limits.code_chars, "By default a new UUID.")),
                optional=("info", "peerId", "code"),
            ),
            "anyOf": [{"required": [key], "properties": {key: given}} for key in ("info", "peerId")],
        },
        "AnswerToSession": {
            **record(
                code=TEXT,
                side=ref("Side"),
                answer=nullable(sdp(limits)),
                candidate=candidate(limits),
                optional=("answer", "candidate"),
            ),
            "oneOf": [
                {"required": ["answer"], "properties": {"answer": given, "candidate": nothing}},
                {"required": ["candidate"], "properties": {"answer": nothing, "candidate": some}},
            ],
        },
        "Poll": record(
            code=TEXT,
            side=ref("Side"),
            wait={"type": ["number", "null"], "minimum": 0, "default": 0, "description": WAIT},
            since={**whole(0), "type": ["integer", "null"], "description": "The latest that the caller has seen."},
            optional=("wait", "since"),
        ),
    }


def _session_answers(limits: SignalingLimits) -> dict[str, Schema]:
    latest = {**COUNT, "description": "To be sent as since by the next poll."}
    return {
        "Pagination": record(
            page=AT_LEAST_ONE,
            limit={"type": "integer", "minimum": 1, "maximum": limits.session_page_max},
            total=COUNT,
            hasMore=MORE,
            next=NEXT,
            optional=("next",),
        ),
        "SessionTopics": record(
            topics=many(record(topic=TEXT, count=COUNT), maxItems=limits.session_page_max),
            pagination=ref("Pagination"),
        ),
        "Session": record(
            code=TEXT, info=TEXT, peerId=TEXT, offer=TEXT, offerCandidates=many(ANY), createdAt=MS, expiresAt=MS
        ),
        "Sessions": paged(sessions=many(ref("Session"), maxItems=limits.session_page_max)),
        "Opened": record(code=TEXT),
        "Success": record(success=TRUE),
        "PollOfOfferer": record(answer=nullable(TEXT), answerCandidates=many(ANY), latest=latest),
        "PollOfAnswerer": record(offer=TEXT, offerCandidates=many(ANY), latest=latest),
        "Polled": {"oneOf": [ref("PollOfOfferer"), ref("PollOfAnswerer")]},
    }
