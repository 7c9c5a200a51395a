-- Bans of networks and clients.
CREATE TABLE bans (
    target TEXT PRIMARY KEY, -- a network such as 198.51.100.0/24, or a client id, 32 hex digits
    until REAL, -- on the wall clock; NULL for a ban without an end
    reason TEXT NOT NULL,
    since REAL NOT NULL -- on the wall clock
) STRICT, WITHOUT ROWID;
