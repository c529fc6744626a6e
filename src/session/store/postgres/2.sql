-- Rows by the secret that sealed them: the first four bytes are its id. A table that would be locked for long while it is
-- indexed is left alone until its operator has created the index concurrently.
DO $$ BEGIN
    IF to_regclass('doorward_sessions_by_secret') IS NULL AND pg_table_size('doorward_sessions') > 1073741824 THEN
        RAISE EXCEPTION 'the table of sessions is too large to be locked while it is indexed; run this once, and meanwhile the version before this one: CREATE INDEX CONCURRENTLY doorward_sessions_by_secret ON doorward_sessions (substring(sealed FROM 1 FOR 4), key)';
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS doorward_sessions_by_secret ON doorward_sessions (substring(sealed FROM 1 FOR 4), key);

-- Cookie keys of retired secrets, for key rotation.
CREATE TABLE doorward_bequests (secret bytea PRIMARY KEY, retired bigint NOT NULL, sealed bytea NOT NULL);

-- The holder of the lease, while `held` equals `lease`.
ALTER TABLE doorward_sessions ADD COLUMN holder bytea, ADD COLUMN held bigint;

UPDATE doorward_schema SET version = 2;
