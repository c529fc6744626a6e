-- Which secret has sealed a row: the first four bytes say so. A table that would be locked for long while it is indexed is
-- left alone until its operator has done so in passing.
DO $$ BEGIN
    IF to_regclass('doorward_sessions_by_secret') IS NULL AND pg_table_size('doorward_sessions') > 1073741824 THEN
        RAISE EXCEPTION 'the table of sessions is too large to be locked while it is indexed; run this once, and meanwhile the version before this one: CREATE INDEX CONCURRENTLY doorward_sessions_by_secret ON doorward_sessions (substring(sealed FROM 1 FOR 4), key)';
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS doorward_sessions_by_secret ON doorward_sessions (substring(sealed FROM 1 FOR 4), key);

-- What is left of secrets that may be dropped, so that their cookies are known.
CREATE TABLE doorward_bequests (secret bytea PRIMARY KEY, retired bigint NOT NULL, sealed bytea NOT NULL);

-- Who holds a lease: whoever took it until exactly then.
ALTER TABLE doorward_sessions ADD COLUMN holder bytea, ADD COLUMN held bigint;

UPDATE doorward_schema SET version = 2;
