-- Which clients exist. Their times and addresses stand in a file of their own, by slot.
ALTER TABLE clients RENAME TO old_clients;
CREATE TABLE clients (
    slot INTEGER PRIMARY KEY CHECK (slot BETWEEN 1 AND 2000000000),
    client_id BLOB NOT NULL CHECK (length(client_id) = 16) -- 16 bytes; the key is derived from it and is nowhere in a file
) STRICT;

-- What that file says, in a copy (and in a store that was upgraded). A server makes the file anew from it when it starts.
CREATE TABLE client_snapshot (
    slot INTEGER PRIMARY KEY,
    last_seen REAL NOT NULL,
    host TEXT,
    port INTEGER NOT NULL,
    local_port INTEGER NOT NULL, -- the server's UDP port that the client pulses to
    pulse_before_verify REAL,
    network TEXT NOT NULL -- the subscriber network that registered it
) STRICT;

INSERT INTO clients SELECT row_number() OVER (ORDER BY client_id), from_hex(client_id) FROM old_clients;
INSERT INTO client_snapshot
    SELECT row_number() OVER (ORDER BY client_id), last_seen, host, port, local_port, pulse_before_verify, network
    FROM old_clients;
DROP TABLE old_clients;
