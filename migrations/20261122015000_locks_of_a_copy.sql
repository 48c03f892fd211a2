-- To whom a copy is encrypted, beside how: what an operator needs to know before the key is looked for.

ALTER TABLE save_copies ADD COLUMN sealing jsonb;
COMMENT ON COLUMN save_copies.sealing IS 'To whom this copy is encrypted: public keys, or that a passphrase opens it. Null where it is not encrypted, and in copies of before it was written down.';
