-- Service tokens. Operators make each one, so there are few.
CREATE TABLE tokens (
    key       BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the secret
    name      TEXT    NOT NULL UNIQUE,
    created   INTEGER NOT NULL,             -- seconds since 1970
    last_used INTEGER,
    sealed    BLOB    NOT NULL
) STRICT;

-- Last pages that sessions opened at apps with an idle timeout of their own: digests of session and app.
CREATE TABLE page_uses (
    word  BLOB    NOT NULL PRIMARY KEY,
    at    INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX page_uses_by_until ON page_uses (until);
