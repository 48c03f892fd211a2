//! What restores leave on the target server: a database of a restore's own stands only while its job may still come
//! back to it, or where its last worker died and the next restore takes it away.

use serde_json::Value;

use crate::{app::App, database::connect};

pub(super) async fn check(app: &App, broken: &mut Vec<String>) {
    let installation: String = app.value("SELECT id::text FROM installation").await;
    let sql = "SELECT datname::text, (regexp_match(shobj_description(oid, 'pg_database'),
                   'holdfast: being restored, installation ' || $1 || ', job ([0-9a-f-]{36}), epoch [0-9]+$'))[1]
               FROM pg_database WHERE shobj_description(oid, 'pg_database') IS NOT NULL";
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as(sql).bind(&installation).fetch_all(&mut connect("postgres").await).await.unwrap();
    for (database, job) in rows {
        let Some(job) = job else { continue };
        let row: Option<Value> =
            app.values(&format!("SELECT to_jsonb(j) FROM jobs j WHERE id = '{job}'")).await.into_iter().next();
        let Some(row) = row else {
            broken.push(format!("database {database} is of a job that does not exist"));
            continue;
        };
        let state = row["state"].as_str().unwrap();
        // Its worker died, and nobody came after it.
        let died = row["error"]["code"] == "lease_expired";
        if state == "succeeded" || (matches!(state, "failed" | "cancelled") && !died) {
            broken.push(format!("database {database} is left of job {job}, which {state}: {}", row["error"]));
        }
    }
}
