-- Which secret has sealed a row: the first four bytes say so.
CREATE INDEX sessions_by_secret ON sessions (substr(sealed, 1, 4), key);

-- What is left of secrets that may be dropped, so that their cookies are known.
CREATE TABLE bequests (secret BLOB NOT NULL PRIMARY KEY, retired INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;
