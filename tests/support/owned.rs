//! A database as an application has it: owned, with all that is in it, by a role of its own, which the restore role is a
//! member of.

use sqlx::{Connection as _, PgConnection};

use crate::{
    database::{Database, connect, options, quoted, run},
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

    /// Lots and bids, a view, and what belongs to the database itself.
    pub async fn auction() -> Self {
        let owned = Self::create(
            "CREATE TABLE lots (id bigint PRIMARY KEY, title text NOT NULL);
             INSERT INTO lots SELECT n, 'lot ' || n FROM generate_series(1, 1000) n;
             CREATE TABLE bids (id bigint GENERATED ALWAYS AS IDENTITY, lot bigint REFERENCES lots, cents int);
             INSERT INTO bids (lot, cents) SELECT 1 + n % 1000, n FROM generate_series(1, 5000) n;
             CREATE VIEW highest AS SELECT lot, max(cents) AS cents FROM bids GROUP BY lot",
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

    /// What an accident does: rows changed, a table dropped, a later migration applied.
    pub async fn damage(&self) {
        let sql = "UPDATE lots SET title = 'lost' WHERE id % 2 = 0; DROP VIEW highest; DROP TABLE bids;
             ALTER TABLE lots ADD COLUMN reserve int; CREATE TABLE auctions (id int PRIMARY KEY); INSERT INTO auctions VALUES (7)";
        run(&mut self.database.session().await, &format!("SET ROLE {}; {sql}", self.role)).await;
    }

    /// A digest of everything in it: columns, constraints, owners and rows of every table and view, and of the database.
    pub async fn digest(&self) -> String {
        digest(&self.database.name).await
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        crate::database::drop_with_role(&self.database.name, &self.role);
    }
}

/// As [`Owned::digest`], of a database by its name.
pub async fn digest(database: &str) -> String {
    let mut session = connect(database).await;
    let shape: String = sqlx::query_scalar(
        "SELECT coalesce(string_agg(line, E'\\n' ORDER BY line), '') FROM (
           SELECT format('%s %s.%s %s %s %s', c.relkind, n.nspname, c.relname, pg_get_userbyid(c.relowner), c.relacl,
                    (SELECT string_agg(format('%s %s %s', attname, format_type(atttypid, atttypmod), attnotnull), ',' ORDER BY attnum)
                       FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped))
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
           UNION ALL SELECT 'c ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0
           UNION ALL SELECT format('d %s %s %s %s %s', pg_get_userbyid(datdba), encoding, datcollate, datacl, datconnlimit)
             FROM pg_database WHERE datname = current_database()
           UNION ALL SELECT 's ' || s.setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
            WHERE d.datname = current_database()) lines (line)",
    )
    .fetch_one(&mut session)
    .await
    .unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1",
    )
    .fetch_all(&mut session)
    .await
    .unwrap();
    let mut digest = shape;
    for table in tables {
        let rows = format!("SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(&mut session).await.unwrap();
        digest.extend(["\n", &table, " ", &rows]);
    }
    digest
}
