-- What a restore into a MongoDB database puts aside are collections, under names that begin alike.
COMMENT ON TABLE kept_databases IS 'What a restore in place put aside: a database, or collections of one. Undo puts it back, and after keep_until it is dropped.';
COMMENT ON COLUMN kept_databases.name IS 'The name it stands under now; of MongoDB collections, what all their names begin with.';
COMMENT ON COLUMN kept_databases.oid IS 'Its oid on the server: what proves that it is the same database. 0 for MongoDB, where the job in the name proves it.';
