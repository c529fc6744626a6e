CREATE TABLE doorward_sessions (
    key        bytea  PRIMARY KEY, -- SHA-256 of the id
    provider   text   NOT NULL,
    subject    text   NOT NULL,
    sid        text,
    generation bigint NOT NULL,
    created    bigint NOT NULL,    -- seconds since 1970
    last_seen  bigint NOT NULL,
    lease      bigint NOT NULL DEFAULT 0, -- until then somebody renews it
    sealed     bytea  NOT NULL
);

CREATE INDEX doorward_sessions_by_sid ON doorward_sessions (sid, provider) WHERE sid IS NOT NULL;
CREATE INDEX doorward_sessions_by_subject ON doorward_sessions (provider, subject);
CREATE INDEX doorward_sessions_by_created ON doorward_sessions (created);
CREATE INDEX doorward_sessions_by_last_seen ON doorward_sessions (last_seen);

-- Replay check: digests of the jti of logout tokens, until they expire.
CREATE TABLE doorward_spent (word bytea PRIMARY KEY, until bigint NOT NULL);

-- Sessions that an operator ended and that no replica has counted yet.
CREATE TABLE doorward_uncounted (many bigint NOT NULL);

-- Number of migrations applied, and the oldest schema version whose programs can still work with this one.
CREATE TABLE doorward_schema (version integer NOT NULL, oldest_reader integer NOT NULL);
INSERT INTO doorward_schema VALUES (1, 1);
