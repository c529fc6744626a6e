CREATE TABLE sessions (
    key        BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the id
    provider   TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    sid        TEXT,
    generation INTEGER NOT NULL,
    created    INTEGER NOT NULL,             -- seconds since 1970
    last_seen  INTEGER NOT NULL,
    lease      INTEGER NOT NULL DEFAULT 0,   -- until then somebody renews it
    sealed     BLOB    NOT NULL
) STRICT;

CREATE INDEX sessions_by_sid ON sessions (sid, provider) WHERE sid IS NOT NULL;
CREATE INDEX sessions_by_subject ON sessions (provider, subject);
CREATE INDEX sessions_by_created ON sessions (created);
CREATE INDEX sessions_by_last_seen ON sessions (last_seen);

-- Replay check: digests of the jti of logout tokens, until they expire.
CREATE TABLE spent (word BLOB NOT NULL PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- The oldest schema whose programs can still work with this file.
CREATE TABLE compatibility (oldest_reader INTEGER NOT NULL) STRICT;
INSERT INTO compatibility VALUES (1);
