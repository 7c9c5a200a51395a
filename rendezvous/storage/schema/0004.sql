-- Attempts to connect, each for a minute or two. The pair key is in no file: it is derived from the server's secret.
CREATE TABLE attempts (
    attempt BLOB PRIMARY KEY CHECK (length(attempt) = 8),
    seq INTEGER NOT NULL, -- its place among the events of the invited client
    network TEXT NOT NULL, -- the subscriber network that began it
    record TEXT NOT NULL -- the rest, as a JSON object; times are server time
) STRICT, WITHOUT ROWID;
