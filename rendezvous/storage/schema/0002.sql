ALTER TABLE offers RENAME COLUMN realm TO namespace;
ALTER TABLE candidates RENAME COLUMN realm TO namespace;
ALTER TABLE clients RENAME COLUMN earlier TO pulse_before_verify;
