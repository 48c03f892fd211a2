-- Bytes for people and from them: a ticket is written by the API, spent once by a worker, and while the worker carries the bytes
-- its row keeps the save from being deleted.
ALTER TABLE workers ADD COLUMN transfer_url text;
COMMENT ON COLUMN workers.transfer_url IS 'Where the API reaches the worker''s own port, http://host:port; null: it does not carry bytes for people.';

CREATE TABLE transfers (
    id          uuid PRIMARY KEY,
    ticket_hash bytea NOT NULL UNIQUE CHECK (octet_length(ticket_hash) = 32),
    errand      jsonb NOT NULL,
    save_id     uuid REFERENCES saves,
    admin_id    uuid REFERENCES admins ON DELETE SET NULL,
    request_id  text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    worker      text,
    busy_until  timestamptz,
    job_id      uuid REFERENCES jobs,
    refusal     jsonb
);
COMMENT ON TABLE transfers IS 'One-time tickets for bytes that people fetch or bring through a worker. The sweeper prunes those that are over.';
COMMENT ON COLUMN transfers.ticket_hash IS 'SHA-256 of the ticket, which itself is nowhere.';
COMMENT ON COLUMN transfers.errand IS 'What the ticket is for: it is good for nothing else.';
COMMENT ON COLUMN transfers.save_id IS 'The save that is read.';
COMMENT ON COLUMN transfers.busy_until IS 'Until when the save is in use: renewed while bytes flow, past when the worker has died.';
COMMENT ON COLUMN transfers.job_id IS 'The job that the bytes became.';
COMMENT ON COLUMN transfers.refusal IS 'Why the worker did not take the bytes.';
CREATE INDEX transfers_busy ON transfers (save_id) WHERE busy_until IS NOT NULL;
CREATE INDEX transfers_expiry ON transfers (expires_at);
