//! Wipes through the real doors: everything goes but what is kept, or nothing; and whatever happens, the job says which.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod broker;
mod crash;
mod mongo;
mod postgres;
mod refused;
mod service;

use serde_json::{Value, json};
use support::{App, Digest, Owned, TargetSpec, database};

/// Tables of all kinds, made by the application's role: with identities and serial columns, partitions, odd names, views that
/// keep their rows, large objects, and what tools for migrations write down.
const SHOP: &str = r#"
    CREATE TABLE schema_migrations (version text PRIMARY KEY); INSERT INTO schema_migrations VALUES ('1'), ('2');
    CREATE TABLE lots (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL);
    INSERT INTO lots (title) SELECT 'lot ' || n FROM generate_series(1, 1000) n;
    CREATE TABLE bids (id serial PRIMARY KEY, lot bigint NOT NULL REFERENCES lots, cents int);
    INSERT INTO bids (lot, cents) SELECT 1 + n % 1000, n FROM generate_series(1, 3000) n;
    CREATE TABLE "it's ""odd""
; DROP TABLE lots; --" (id int); INSERT INTO "it's ""odd""
; DROP TABLE lots; --" VALUES (1);
    CREATE SCHEMA "An ""archive""";
    CREATE TABLE "An ""archive""".events (id bigserial, day date) PARTITION BY RANGE (day);
    CREATE TABLE "An ""archive""".events_2025 PARTITION OF "An ""archive""".events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE TABLE "An ""archive""".events_2026 PARTITION OF "An ""archive""".events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO "An ""archive""".events (day) SELECT '2025-12-20'::date + n FROM generate_series(1, 40) n;
    CREATE SEQUENCE tickets; SELECT nextval('tickets') FROM generate_series(1, 7);
    CREATE VIEW open AS SELECT * FROM lots WHERE id > 5;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM open;
    CREATE MATERIALIZED VIEW a_second AS SELECT n FROM counted;
    SELECT lo_from_bytea(0, 'a picture') FROM generate_series(1, 20);
    -- pg_read_all_data does not read these.
    DO $$ DECLARE one oid; BEGIN FOR one IN SELECT oid FROM pg_largeobject_metadata LOOP
        EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO backup_role', one); END LOOP; END $$;
"#;

/// An installation with a worker-less target of a shop.
struct Scene {
    app: App,
    shop: Owned,
    target: String,
    before: Digest,
}

impl Scene {
    async fn set() -> Self {
        Self::set_with("", json!({})).await
    }

    /// With more in the database, made by a superuser, and more of the target.
    async fn set_with(sql: &str, target: Value) -> Self {
        let mut app = App::spawn().await;
        let shop = Owned::create(SHOP).await;
        if !sql.is_empty() {
            database::run(&mut shop.database.session().await, sql).await;
        }
        let spec = TargetSpec { target, ..TargetSpec::of(&shop.database.name) };
        let target = app.target_with(&spec).await;
        let before = shop.digest().await;
        Self { app, shop, target, before }
    }

    /// Asks for the wipe. The job's id.
    async fn wipe(&self, more: Value) -> String {
        let mut body = json!({ "confirm": self.shop.database.name });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.app.client.post(&format!("/v1/targets/{}/wipe", self.target), body).await.id()
    }

    async fn text(&self, sql: &str) -> String {
        self.shop.database.text(sql).await
    }

    /// Nothing was changed.
    async fn untouched(&self) {
        assert_eq!(self.shop.digest().await, self.before);
    }

    /// Only what is kept has rows.
    async fn is_empty(&self) -> bool {
        let now = self.shop.digest().await;
        assert_eq!(now.schema, self.before.schema);
        let with_rows: Vec<&String> =
            now.rows.iter().filter(|(_, rows)| !rows.starts_with("0 ")).map(|(name, _)| name).collect();
        // The views count what there is: nothing.
        with_rows == ["public.a_second", "public.counted", "public.schema_migrations"]
            && self.text("SELECT n::text FROM a_second").await == "0"
            && self.text("SELECT count(*)::text FROM pg_largeobject_metadata").await == "0"
    }
}
