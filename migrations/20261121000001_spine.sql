-- The spine: who may do what, what is to be kept safe, what was kept, the queue, the history, the outbox.
-- Ids are UUIDv7, made by the process that inserts. Times are the server's own, never a client's.

CREATE TABLE installation (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id         uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE installation IS 'One row: this installation. Its id stands in every object key and in each store''s marker.';

-- Who ---------------------------------------------------------------------------------------------------------------

CREATE TABLE admins (
    id            uuid PRIMARY KEY,
    name          text NOT NULL UNIQUE CHECK (name = lower(name)),
    password_hash text NOT NULL,
    token_version integer NOT NULL DEFAULT 0,
    disabled_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE admins IS 'A user of the control API.';
COMMENT ON COLUMN admins.token_version IS 'Raised to end every token of the admin at once; a token carries the value it was issued under.';

CREATE TABLE sessions (
    id         uuid PRIMARY KEY,
    admin_id   uuid NOT NULL REFERENCES admins ON DELETE CASCADE,
    address    text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
COMMENT ON TABLE sessions IS 'One login. Its id is the sid of every access token renewed from it; expires_at is its absolute end.';
CREATE INDEX sessions_admin ON sessions (admin_id);

CREATE TABLE login_failures (
    name    text NOT NULL,
    address text NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE login_failures IS 'Failed logins of the last minutes, by account and address; the sweeper prunes it.';
CREATE INDEX login_failures_recent ON login_failures (name, address, at);

-- What --------------------------------------------------------------------------------------------------------------

CREATE TABLE services (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    description text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE services IS 'A system that owns databases; roles are granted per service.';

CREATE TABLE admin_roles (
    admin_id   uuid NOT NULL REFERENCES admins ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('super', 'admin', 'operator', 'viewer')),
    service_id uuid REFERENCES services ON DELETE CASCADE,
    granted_by uuid REFERENCES admins ON DELETE SET NULL,
    granted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (role <> 'super' OR service_id IS NULL)
);
COMMENT ON TABLE admin_roles IS 'A role of an admin: global where service_id is null, else for that service.';
CREATE UNIQUE INDEX admin_roles_global ON admin_roles (admin_id, role) WHERE service_id IS NULL;
CREATE UNIQUE INDEX admin_roles_service ON admin_roles (admin_id, role, service_id) WHERE service_id IS NOT NULL;

CREATE TABLE servers (
    id                   uuid PRIMARY KEY,
    name                 text NOT NULL UNIQUE,
    engine               text NOT NULL CHECK (engine IN ('postgres', 'mongodb')),
    host                 text NOT NULL,
    port                 integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    tls_mode             text NOT NULL CHECK (tls_mode IN ('disable', 'prefer', 'require', 'verify_ca', 'verify_full')),
    tls_ca_pem           text,
    maintenance_database text NOT NULL DEFAULT 'postgres',
    max_jobs             integer NOT NULL DEFAULT 2 CHECK (max_jobs BETWEEN 1 AND 64),
    created_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE servers IS 'A database server. max_jobs bounds the jobs that run against it at once, over all workers.';

CREATE TABLE credentials (
    id             uuid PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    user_name      text NOT NULL,
    sealed_version smallint NOT NULL,
    key_id         text NOT NULL,
    encapped       bytea NOT NULL,
    ciphertext     bytea NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE credentials IS 'A user name and a password sealed with HPKE to the workers'' key, bound to this row; only workers can open it.';

CREATE TABLE targets (
    id                    uuid PRIMARY KEY,
    service_id            uuid NOT NULL REFERENCES services,
    server_id             uuid NOT NULL REFERENCES servers,
    name                  text NOT NULL,
    database              text NOT NULL,
    backup_credential_id  uuid NOT NULL REFERENCES credentials,
    restore_credential_id uuid REFERENCES credentials,
    stores                text[] NOT NULL CHECK (cardinality(stores) BETWEEN 1 AND 8),
    required_copies       integer NOT NULL DEFAULT 1 CHECK (required_copies BETWEEN 1 AND 8),
    worker_group          text NOT NULL DEFAULT 'default',
    deadline_s            integer CHECK (deadline_s BETWEEN 1 AND 604800),
    stall_s               integer CHECK (stall_s BETWEEN 1 AND 86400),
    last_version          integer NOT NULL DEFAULT 0,
    created_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (service_id, name),
    CHECK (required_copies <= cardinality(stores))
);
COMMENT ON TABLE targets IS 'One database of a service that can be backed up.';
COMMENT ON COLUMN targets.last_version IS 'The version given to the newest save; raised under the row''s lock, so versions have no twins.';
CREATE INDEX targets_server ON targets (server_id);

-- Jobs --------------------------------------------------------------------------------------------------------------

CREATE TABLE jobs (
    id                  uuid PRIMARY KEY,
    kind                text NOT NULL,
    state               text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    phase               text,
    payload             jsonb NOT NULL,
    priority            smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),
    worker_group        text NOT NULL DEFAULT 'default',
    service_id          uuid REFERENCES services,
    target_id           uuid REFERENCES targets,
    server_id           uuid REFERENCES servers,
    save_id             uuid,
    reads_save_id       uuid,
    exclusive_key       text,
    server_slot         integer,
    group_id            uuid,
    after_job_id        uuid REFERENCES jobs,
    retry_of            uuid REFERENCES jobs,
    attempt             integer NOT NULL DEFAULT 0,
    max_attempts        integer NOT NULL DEFAULT 5 CHECK (max_attempts BETWEEN 1 AND 100),
    epoch               bigint NOT NULL DEFAULT 0,
    lease_owner         text,
    lease_until         timestamptz,
    cancel_requested_at timestamptz,
    cancel_requested_by uuid REFERENCES admins ON DELETE SET NULL,
    next_run_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    dispatched_at       timestamptz,
    deadline_s          integer,
    stall_s             integer,
    progress            jsonb NOT NULL DEFAULT '{}',
    result              jsonb,
    error               jsonb,
    requested_by        uuid REFERENCES admins ON DELETE SET NULL,
    request_id          text,
    trace_id            text,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at          timestamptz,
    finished_at         timestamptz,
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
);
COMMENT ON TABLE jobs IS 'A unit of queued work. The row is the truth; apalis carries only a wake-up hint.';
COMMENT ON COLUMN jobs.epoch IS 'The fencing number: raised by every claim and every expiry, carried by every write of the work.';
COMMENT ON COLUMN jobs.exclusive_key IS 'Unique while running: target:<id> for what writes a target or dumps it, save:<id> for delete.';
COMMENT ON COLUMN jobs.server_slot IS 'Which of the server''s max_jobs places a running job holds; unique while running.';
COMMENT ON COLUMN jobs.phase IS 'What a running job is doing; committing marks the point of no return.';
COMMENT ON COLUMN jobs.reads_save_id IS 'The save this job reads; registered in save_uses by the claim.';
CREATE UNIQUE INDEX jobs_exclusive ON jobs (exclusive_key) WHERE state = 'running' AND exclusive_key IS NOT NULL;
CREATE UNIQUE INDEX jobs_server_slot ON jobs (server_id, server_slot) WHERE state = 'running' AND server_slot IS NOT NULL;
CREATE INDEX jobs_claim ON jobs (priority DESC, next_run_at, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_after ON jobs (after_job_id) WHERE after_job_id IS NOT NULL AND state = 'queued';
CREATE INDEX jobs_group ON jobs (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX jobs_target ON jobs (target_id, id DESC);
CREATE INDEX jobs_service ON jobs (service_id, id DESC);
CREATE INDEX jobs_save ON jobs (save_id) WHERE save_id IS NOT NULL;

CREATE TABLE job_events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id     uuid NOT NULL REFERENCES jobs,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    from_state text,
    to_state   text NOT NULL,
    phase      text,
    attempt    integer NOT NULL,
    epoch      bigint NOT NULL,
    worker     text,
    error      jsonb
);
COMMENT ON TABLE job_events IS 'Append-only history: every change of a job''s state or phase, written by a trigger so that none can be forgotten.';
CREATE INDEX job_events_job ON job_events (job_id, id);

CREATE FUNCTION record_job_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO job_events (job_id, from_state, to_state, phase, attempt, epoch)
        VALUES (NEW.id, NULL, NEW.state, NEW.phase, NEW.attempt, NEW.epoch);
    ELSIF NEW.state IS DISTINCT FROM OLD.state OR NEW.phase IS DISTINCT FROM OLD.phase THEN
        INSERT INTO job_events (job_id, from_state, to_state, phase, attempt, epoch, worker, error)
        VALUES (NEW.id, OLD.state, NEW.state, NEW.phase, NEW.attempt, NEW.epoch, coalesce(NEW.lease_owner, OLD.lease_owner),
                CASE WHEN NEW.state IS DISTINCT FROM OLD.state THEN NEW.error END);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_history AFTER INSERT OR UPDATE OF state, phase ON jobs FOR EACH ROW EXECUTE FUNCTION record_job_event();

CREATE FUNCTION jobs_terminal_is_terminal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % is % and stays so', OLD.id, OLD.state USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER jobs_terminal BEFORE UPDATE OF state ON jobs FOR EACH ROW
    WHEN (OLD.state IN ('succeeded', 'failed', 'cancelled') AND NEW.state <> OLD.state)
    EXECUTE FUNCTION jobs_terminal_is_terminal();

-- Saves -------------------------------------------------------------------------------------------------------------

CREATE TABLE saves (
    id              uuid PRIMARY KEY,
    target_id       uuid NOT NULL REFERENCES targets,
    service_id      uuid NOT NULL REFERENCES services,
    version         integer NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'available', 'failed', 'deleting', 'deleted')),
    scope           text NOT NULL CHECK (scope IN ('full', 'partial')),
    origin          text NOT NULL CHECK (origin IN ('schedule', 'manual', 'safety', 'import', 'copy')),
    mode            text NOT NULL CHECK (mode IN ('all', 'schema', 'data')),
    required_copies integer NOT NULL,
    job_id          uuid REFERENCES jobs,
    requested_by    uuid REFERENCES admins ON DELETE SET NULL,
    note            text NOT NULL DEFAULT '',
    raw_bytes       bigint,
    stored_bytes    bigint,
    manifest        jsonb,
    warnings        jsonb NOT NULL DEFAULT '[]',
    error           jsonb,
    valid           boolean NOT NULL DEFAULT true,
    trusted         boolean NOT NULL DEFAULT true,
    suspicious      boolean NOT NULL DEFAULT false,
    pinned          boolean NOT NULL DEFAULT false,
    verified_at     timestamptz,
    expires_at      timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    available_at    timestamptz,
    deleted_at      timestamptz,
    UNIQUE (target_id, version),
    CHECK (state <> 'available' OR (manifest IS NOT NULL AND available_at IS NOT NULL))
);
COMMENT ON TABLE saves IS 'One dump of a target: a manifest and its objects. A deleted save stays as a tombstone.';
CREATE INDEX saves_target ON saves (target_id, id DESC);
CREATE INDEX saves_service ON saves (service_id, id DESC);
ALTER TABLE jobs ADD FOREIGN KEY (save_id) REFERENCES saves;
ALTER TABLE jobs ADD FOREIGN KEY (reads_save_id) REFERENCES saves;

CREATE TABLE save_copies (
    save_id      uuid NOT NULL REFERENCES saves,
    store        text NOT NULL,
    state        text NOT NULL DEFAULT 'uploading' CHECK (state IN ('uploading', 'good', 'missing', 'corrupt', 'deleting', 'deleted')),
    epoch        bigint,
    stored_bytes bigint,
    error        jsonb,
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (save_id, store)
);
COMMENT ON TABLE save_copies IS 'A save in one store. epoch is that of the attempt whose objects are the copy.';

CREATE TABLE save_objects (
    id           uuid PRIMARY KEY,
    save_id      uuid NOT NULL REFERENCES saves,
    job_id       uuid NOT NULL REFERENCES jobs,
    epoch        bigint NOT NULL,
    store        text NOT NULL,
    key          text NOT NULL,
    part         text NOT NULL,
    upload_ref   text NOT NULL,
    state        text NOT NULL DEFAULT 'uploading' CHECK (state IN ('uploading', 'stored', 'deleting', 'deleted')),
    raw_bytes    bigint,
    stored_bytes bigint,
    blake3       bytea CHECK (octet_length(blake3) = 32),
    sha256       bytea CHECK (octet_length(sha256) = 32),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (store, key),
    CHECK (state <> 'stored' OR (stored_bytes IS NOT NULL AND sha256 IS NOT NULL))
);
COMMENT ON TABLE save_objects IS 'One blob in one store, named here before its first byte is written: what no row names is foreign and never touched.';
CREATE INDEX save_objects_save ON save_objects (save_id);
CREATE INDEX save_objects_open ON save_objects (job_id, epoch) WHERE state IN ('uploading', 'deleting');

CREATE TABLE save_uses (
    save_id    uuid NOT NULL REFERENCES saves,
    job_id     uuid NOT NULL REFERENCES jobs,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (save_id, job_id)
);
COMMENT ON TABLE save_uses IS 'Jobs that read a save now. A save in use is not deleted.';

-- Facts -------------------------------------------------------------------------------------------------------------

CREATE TABLE outbox (
    id           uuid PRIMARY KEY,
    position     bigint GENERATED ALWAYS AS IDENTITY,
    seq          bigint UNIQUE,
    type         text NOT NULL,
    subject      text NOT NULL,
    aggregate    text NOT NULL,
    service      text,
    trace_id     text,
    data         jsonb NOT NULL,
    occurred_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz,
    routed       boolean,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text
);
COMMENT ON TABLE outbox IS 'Facts, written in the transaction that made them true. The one active relay gives seq (gap-free) and publishes.';
CREATE INDEX outbox_unsequenced ON outbox (position) WHERE seq IS NULL;
CREATE INDEX outbox_unpublished ON outbox (seq) WHERE published_at IS NULL;

CREATE TABLE outbox_seq (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    last      bigint NOT NULL DEFAULT 0
);
INSERT INTO outbox_seq DEFAULT VALUES;

CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('holdfast_outbox', '');
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_hint AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox();

CREATE TABLE audit (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    admin_id      uuid,
    admin_name    text,
    action        text NOT NULL,
    resource_type text,
    resource_id   text,
    service_id    uuid,
    outcome       text NOT NULL CHECK (outcome IN ('allowed', 'denied', 'failed')),
    address       text,
    request_id    text,
    detail        jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE audit IS 'Who did what, from where, with what result. The application role can add rows and read them, nothing else.';
CREATE INDEX audit_at ON audit (at);

-- Workers -----------------------------------------------------------------------------------------------------------

CREATE TABLE workers (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    groups       text[] NOT NULL,
    slots        integer NOT NULL,
    version      text NOT NULL,
    stores       text[] NOT NULL,
    key_ids      text[] NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE workers IS 'Processes that claim jobs: one row per start, refreshed with the sweep, pruned a day after it was last seen.';
