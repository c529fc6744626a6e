-- Rows by the secret that sealed them: the first four bytes are its id.
CREATE INDEX sessions_by_secret ON sessions (substr(sealed, 1, 4), key);

-- Cookie keys of retired secrets, for key rotation.
CREATE TABLE bequests (secret BLOB NOT NULL PRIMARY KEY, retired INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;

-- The holder of the lease, while `held` equals `lease`.
ALTER TABLE sessions ADD COLUMN holder BLOB;
ALTER TABLE sessions ADD COLUMN held INTEGER;

-- Written by the write probe.
CREATE TABLE pulse (beat INTEGER NOT NULL, proof BLOB) STRICT;
INSERT INTO pulse (beat) VALUES (0);
