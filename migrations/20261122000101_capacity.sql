-- What an operator knows and PostgreSQL does not tell: how much the databases of a server may grow together.

ALTER TABLE servers ADD COLUMN capacity_bytes bigint CHECK (capacity_bytes > 0);
COMMENT ON COLUMN servers.capacity_bytes IS 'Bytes that all databases of the server may have together, as the operator says; null: not known. Dry runs of restores look at it.';
