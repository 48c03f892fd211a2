-- MongoDB targets: servers that are more than one host, servers without users, and what dumps them.

ALTER TABLE servers
    ADD COLUMN uri  text CHECK (uri IS NULL OR (engine = 'mongodb' AND uri !~ '@')),
    ADD COLUMN auth text NOT NULL DEFAULT 'password' CHECK (auth = 'password' OR (auth = 'none' AND engine = 'mongodb'));
COMMENT ON COLUMN servers.uri IS 'MongoDB: hosts and options as a connection string, without user and password, which are the credential''s; null: host and port. It takes the place of host and port.';
COMMENT ON COLUMN servers.auth IS 'password: sessions authenticate with the target''s credential; none: the server knows no users, and the credential is not used (MongoDB in development).';

ALTER TABLE targets
    ADD COLUMN mongo_mode text NOT NULL DEFAULT 'native' CHECK (mongo_mode IN ('native', 'tools'));
COMMENT ON COLUMN targets.mongo_mode IS 'Of a MongoDB target: native, by Holdfast itself, or tools, by mongodump and mongorestore on the worker. Both write the same format.';
