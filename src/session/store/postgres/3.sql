-- Service tokens. Operators make each one, so there are few.
CREATE TABLE doorward_tokens (
    key       bytea  PRIMARY KEY, -- SHA-256 of the secret
    name      text   NOT NULL UNIQUE,
    created   bigint NOT NULL,    -- seconds since 1970
    last_used bigint,
    sealed    bytea  NOT NULL
);

-- Last pages that sessions opened at apps with an idle timeout of their own: digests of session and app.
CREATE TABLE doorward_page_uses (word bytea PRIMARY KEY, at bigint NOT NULL, until bigint NOT NULL);
CREATE INDEX doorward_page_uses_by_until ON doorward_page_uses (until);

UPDATE doorward_schema SET version = 3;
