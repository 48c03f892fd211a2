-- The message broker of a service: its queues are purged with a wipe, and what it is made of is kept with each backup of the service.
CREATE TABLE brokers (
    service_id    uuid PRIMARY KEY REFERENCES services ON DELETE CASCADE,
    url           text NOT NULL,
    vhost         text NOT NULL DEFAULT '/',
    credential_id uuid NOT NULL REFERENCES credentials,
    tls_ca_pem    text,
    queues        text[] NOT NULL DEFAULT '{}' CHECK (cardinality(queues) <= 100),
    worker_group  text NOT NULL DEFAULT 'default',
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE brokers IS 'The message broker of a service, as far as Holdfast has to do with it: its management over HTTP.';
COMMENT ON COLUMN brokers.url IS 'Where its management answers, http(s)://host:port.';
COMMENT ON COLUMN brokers.vhost IS 'The virtual host that the service uses.';
COMMENT ON COLUMN brokers.tls_ca_pem IS 'PEM of whom to trust beside the system''s own authorities.';
COMMENT ON COLUMN brokers.queues IS 'Patterns (* and ?) for the names of the queues that are purged when the service is wiped; empty: none.';
COMMENT ON COLUMN brokers.worker_group IS 'Whose workers can reach it.';
CREATE INDEX brokers_credential ON brokers (credential_id);

CREATE TABLE broker_definitions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_id  uuid NOT NULL REFERENCES services ON DELETE CASCADE,
    job_id      uuid REFERENCES jobs ON DELETE SET NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    url         text NOT NULL,
    vhost       text NOT NULL,
    sha256      bytea NOT NULL CHECK (octet_length(sha256) = 32),
    definitions text NOT NULL CHECK (octet_length(definitions) <= 4194304)
);
COMMENT ON TABLE broker_definitions IS 'What the broker of a service was made of: exchanges, queues, bindings and policies of its virtual host, without users, passwords and parameters. A row stands for as long as nothing changed.';
COMMENT ON COLUMN broker_definitions.at IS 'When it was first seen so.';
COMMENT ON COLUMN broker_definitions.seen_at IS 'When it was last seen so.';
COMMENT ON COLUMN broker_definitions.sha256 IS 'Of the definitions, as they stand here.';
COMMENT ON COLUMN broker_definitions.definitions IS 'JSON in a canonical form, as rabbitmqadmin imports it; at most 4 MiB.';
CREATE INDEX broker_definitions_service ON broker_definitions (service_id, id DESC);
