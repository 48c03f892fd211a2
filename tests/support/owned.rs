//! A database as an application has it: owned, with all that is in it, by a role of its own, which the restore role is a
//! member of.

use sqlx::{Connection as _, PgConnection};

use crate::{
    database::{Database, connect, options, quoted, run},
    digest::Digest,
    stack,
};

const PASSWORD: &str = "an application has one too";

/// The database and its owner. Both go when the test ends.
#[derive(Debug)]
pub struct Owned {
    pub database: Database,
    pub role: String,
}

impl Owned {
    /// With this content, made by the owner.
    pub async fn create(sql: &str) -> Self {
        let role = stack::fresh("app");
        let restore = stack::setting("TARGET_RESTORE_USER");
        let mut server = connect("postgres").await;
        run(&mut server, &format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT {role} TO {restore}")).await;
        let database = Database::create("SELECT").await;
        run(&mut server, &format!("ALTER DATABASE {} OWNER TO {role}", quoted(&database.name))).await;
        run(&mut database.session().await, &format!("SET ROLE {role}; {sql}")).await;
        Self { database, role }
    }

    /// Lots and bids, a view, a partitioned table in a schema of its own, and what belongs to the database itself.
    pub async fn auction() -> Self {
        let owned = Self::create(
            "CREATE TABLE lots (id bigint PRIMARY KEY, title text NOT NULL);
             INSERT INTO lots SELECT n, 'lot ' || n FROM generate_series(1, 1000) n;
             CREATE TABLE bids (id bigint GENERATED ALWAYS AS IDENTITY, lot bigint REFERENCES lots, cents int);
             INSERT INTO bids (lot, cents) SELECT 1 + n % 1000, n FROM generate_series(1, 5000) n;
             CREATE VIEW highest AS SELECT lot, max(cents) AS cents FROM bids GROUP BY lot;
             COMMENT ON TABLE lots IS 'what is sold';
             CREATE SCHEMA archive;
             CREATE TABLE archive.events (id bigint, day date, note text DEFAULT 'none', PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
             CREATE TABLE archive.events_2025 PARTITION OF archive.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
             CREATE INDEX events_note ON archive.events (note);
             INSERT INTO archive.events SELECT n, '2025-02-03', 'event ' || n FROM generate_series(1, 300) n;
             CREATE FUNCTION archive.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := upper(NEW.note); RETURN NEW; END';
             CREATE TRIGGER stamp BEFORE INSERT ON archive.events_2025 FOR EACH ROW EXECUTE FUNCTION archive.stamp()",
        )
        .await;
        let name = quoted(&owned.database.name);
        let mut server = connect("postgres").await;
        run(&mut server, &format!("ALTER DATABASE {name} SET work_mem = '9MB'")).await;
        run(&mut server, &format!("COMMENT ON DATABASE {name} IS 'the auction''s'")).await;
        run(&mut server, &format!("ALTER DATABASE {name} CONNECTION LIMIT 40")).await;
        owned
    }

    /// A session of the application's.
    pub async fn session(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&options(&self.database.name).username(&self.role).password(PASSWORD)).await
    }

    /// Takes away what a later migration made and a restore inside the database leaves.
    pub async fn without_later(&self) {
        run(&mut self.database.session().await, "DROP TABLE auctions; DROP TABLE archive.later").await;
    }

    /// What an accident does: rows changed, a table dropped, a later migration applied.
    pub async fn damage(&self) {
        let sql = "UPDATE lots SET title = 'lost' WHERE id % 2 = 0; DROP VIEW highest; DROP TABLE bids;
             ALTER TABLE lots ADD COLUMN reserve int; CREATE TABLE auctions (id int PRIMARY KEY); INSERT INTO auctions VALUES (7);
             CREATE TABLE archive.later (id int); ALTER TABLE archive.events DROP COLUMN note";
        run(&mut self.database.session().await, &format!("SET ROLE {}; {sql}", self.role)).await;
    }

    /// What it is, to anybody who asks.
    pub async fn digest(&self) -> Digest {
        Digest::of(&self.database.name).await
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        crate::database::drop_with_role(&self.database.name, &self.role);
    }
}
