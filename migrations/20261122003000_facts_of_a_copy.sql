-- Copies of one save may differ in their stored bytes: each has encodings of its own.

ALTER TABLE save_copies ADD COLUMN encodings jsonb;
COMMENT ON COLUMN save_copies.encodings IS 'What was done to the raw bytes of this copy, in order. Null in saves of format 1, whose manifest says it for all copies.';
COMMENT ON COLUMN save_objects.raw_bytes IS 'Raw length; of a dump that was cut into several objects the whole dump''s, with its first object alone.';
COMMENT ON COLUMN save_objects.blake3 IS 'BLAKE3 of the raw bytes, with raw_bytes.';
COMMENT ON COLUMN save_objects.sha256 IS 'SHA-256 of the stored bytes of this object.';
