-- What a wipe of a target leaves alone. Of targets that are there, too: the tables of the known tools for migrations.
ALTER TABLE targets ADD COLUMN wipe_keep text[] NOT NULL DEFAULT '{schema_migrations,_sqlx_migrations,flyway_schema_history,alembic_version,django_migrations,goose_db_version,knex_migrations,knex_migrations_lock,__EFMigrationsHistory,databasechangelog,databasechangeloglock,DATABASECHANGELOG,DATABASECHANGELOGLOCK,__diesel_schema_migrations,seaql_migrations,refinery_schema_history,_prisma_migrations,ar_internal_metadata,__drizzle_migrations,changelog,mongockChangeLog,mongockLock}'
    CHECK (cardinality(wipe_keep) <= 100);
COMMENT ON COLUMN targets.wipe_keep IS 'Patterns (* and ?) for the names of tables and collections that a wipe leaves alone.';
