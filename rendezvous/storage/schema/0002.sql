ALTER TABLE offers RENAME COLUMN realm TO namespace;
ALTER TABLE candidates RENAME COLUMN realm TO namespace;
ALTER TABLE clients RENAME COLUMN earlier TO pulse_before_verify;
ALTER TABLE clients ADD COLUMN local_port INTEGER NOT NULL DEFAULT 0; -- the server's UDP port that the client pulses to
ALTER TABLE clients ADD COLUMN network TEXT NOT NULL DEFAULT ''; -- the subscriber network that registered it
ALTER TABLE revocations ADD COLUMN network TEXT NOT NULL DEFAULT '';
-- Moments are server time from now on, but for revocations.until and what is shown: those are on the wall clock.
INSERT OR REPLACE INTO meta SELECT 'server_time', value FROM meta WHERE name = 'alive';
ALTER TABLE offers ADD COLUMN seen INTEGER NOT NULL DEFAULT 0; -- its place in listings: microseconds of server time, or more
ALTER TABLE offers ADD COLUMN while_connected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE offers ADD COLUMN network TEXT NOT NULL DEFAULT ''; -- the subscriber network that published it
UPDATE offers SET seen = last_seen_ms * 1000;
