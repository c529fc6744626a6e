-- Which secret has sealed a row: the first four bytes say so.
CREATE INDEX sessions_by_secret ON sessions (substr(sealed, 1, 4), key);

-- What is left of secrets that may be dropped, so that their cookies are known.
CREATE TABLE bequests (secret BLOB NOT NULL PRIMARY KEY, retired INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;

-- Who holds a lease: whoever took it until exactly then.
ALTER TABLE sessions ADD COLUMN holder BLOB;
ALTER TABLE sessions ADD COLUMN held INTEGER;

-- Written from time to time, to see that it can be.
CREATE TABLE pulse (beat INTEGER NOT NULL, proof BLOB) STRICT;
INSERT INTO pulse (beat) VALUES (0);
