-- Refresh tokens of people's sessions, and API tokens of programs. Of both only the SHA-256 is here.

CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    issued_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    used_at    timestamptz
);
COMMENT ON TABLE refresh_tokens IS 'Each works once and ends with its session. One that comes again was copied: its session is revoked.';
COMMENT ON COLUMN refresh_tokens.hash IS 'SHA-256 of the token; the token itself is nowhere.';
COMMENT ON COLUMN refresh_tokens.used_at IS 'When it was exchanged for the next one.';
CREATE UNIQUE INDEX refresh_tokens_current ON refresh_tokens (session_id) WHERE used_at IS NULL;
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id, issued_at DESC);
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE api_tokens (
    id           uuid PRIMARY KEY,
    hash         bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    admin_id     uuid NOT NULL REFERENCES admins ON DELETE CASCADE,
    name         text NOT NULL,
    role         text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    service_id   uuid REFERENCES services ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
COMMENT ON TABLE api_tokens IS 'What a program calls the API with. It may do what its scope and its owner''s present roles both allow.';
COMMENT ON COLUMN api_tokens.hash IS 'SHA-256 of the token; the token itself is nowhere.';
COMMENT ON COLUMN api_tokens.admin_id IS 'The owner.';
COMMENT ON COLUMN api_tokens.role IS 'The most it may do; never super.';
COMMENT ON COLUMN api_tokens.service_id IS 'Null: wherever its owner has roles.';
COMMENT ON COLUMN api_tokens.last_used_at IS 'Exact to a minute.';
COMMENT ON COLUMN api_tokens.revoked_at IS 'When it was ended before its time.';
CREATE UNIQUE INDEX api_tokens_name ON api_tokens (admin_id, name) WHERE revoked_at IS NULL;
