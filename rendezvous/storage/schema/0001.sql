-- Times are seconds since the epoch (REAL), or milliseconds where the column says so; seq counts microseconds.

CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

CREATE TABLE clients (
    client_id TEXT PRIMARY KEY, -- 32 hex digits; the key is derived from it and is nowhere in this file
    last_seen REAL NOT NULL,
    host TEXT,
    port INTEGER NOT NULL,
    earlier REAL
) STRICT, WITHOUT ROWID;

CREATE TABLE revocations (client_id TEXT PRIMARY KEY, until REAL NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE offers (
    realm TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    topics TEXT NOT NULL, -- a JSON list
    sdp TEXT NOT NULL,
    secret TEXT,
    info TEXT,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    answerer TEXT,
    answer_sdp TEXT,
    answered_at_ms INTEGER,
    answer_seq INTEGER,
    PRIMARY KEY (realm, id)
) STRICT;

CREATE TABLE candidates (
    realm TEXT NOT NULL,
    offer_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    role TEXT NOT NULL,
    peer TEXT NOT NULL,
    payload TEXT NOT NULL, -- JSON
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (realm, offer_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    seq INTEGER NOT NULL,
    peer TEXT NOT NULL,
    kind TEXT NOT NULL,
    offer_id TEXT NOT NULL,
    topics TEXT NOT NULL, -- a JSON list
    payload TEXT, -- a JSON list of the fields of the answer or candidate
    PRIMARY KEY (seq, peer)
) STRICT, WITHOUT ROWID;

CREATE TABLE tracker_peers (
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    local_port INTEGER NOT NULL,
    ip TEXT NOT NULL,
    recorded_port INTEGER NOT NULL,
    share_id TEXT NOT NULL,
    last_seen REAL NOT NULL,
    multiaddr TEXT,
    PRIMARY KEY (host, port, local_port)
) STRICT, WITHOUT ROWID;
