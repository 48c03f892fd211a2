//! The `PostgreSQL` engine through the real doors: HTTP in, a worker process, real servers and tools. What is bad must give
//! a clear error on the job, leave nothing behind, and tell no secret (guarantees D, F, §4.5).
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod crash;
mod damage;
mod names;
pub(crate) mod options;
mod privileges;
mod probe;
mod refused;
mod secrets;
pub(crate) mod stores;
mod tls;
mod tools;

pub(crate) use tools::stand_in;

use serde_json::{Value, json};
use support::{App, Client, invariants::forms};

/// Failures of this installation are final at the first attempt: what is retried is asserted by `retryable`, not waited
/// for.
pub(crate) async fn one_attempt(app: &App) {
    app.execute(
        "CREATE FUNCTION one_attempt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.max_attempts := 1; RETURN NEW; END $$;
         CREATE TRIGGER one_attempt BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION one_attempt()",
    )
    .await;
}

/// Waits for the failure and checks its form: the stable code, whether another attempt may help, what to do. The error.
pub(crate) async fn fails(app: &App, job: &str, code: &str, retryable: bool) -> Value {
    let job = app.client.job_until(job, "ended", |job| job["finished_at"].is_string()).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    let error = job["error"].clone();
    assert_eq!(error["code"], code, "{error:#}");
    assert_eq!(error["retryable"], retryable, "{error:#}");
    for part in ["message", "hint"] {
        assert!(error[part].as_str().is_some_and(|text| text.len() > 10), "no {part} in {error:#}");
    }
    error
}

/// A failed backup: no save came of it, and not a byte of it is left.
async fn no_save(app: &App, job: &str) {
    let job = app.client.job(job).await;
    let save = job["save_id"].as_str().unwrap();
    let save = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    assert_eq!(save["state"], "failed", "{save:#}");
    let open: i64 = app.value("SELECT count(*) FROM save_objects WHERE state NOT IN ('deleted', 'discarded')").await;
    let states: Vec<String> = app.values("SELECT store || ' ' || part || ' ' || state FROM save_objects").await;
    assert_eq!(open, 0, "objects are left: {states:?}");
    assert_eq!(stored_files(app), Vec::<String>::new(), "bytes are left in the store");
    app.holds().await;
}

/// Everything in store `disk` but its marker, whole or half.
fn stored_files(app: &App) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![app.store()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if entry.file_name() != ".holdfast-store.json" {
                found.push(entry.path().strip_prefix(app.store()).unwrap().display().to_string());
            }
        }
    }
    found
}

/// Fails where a secret stands in any form in rows, logs, or what the API answers about this job.
async fn nowhere(app: &App, client: &Client, job: &str, secret: &str) {
    let mut places = vec![("the logs", app.logs())];
    for path in [format!("/v1/jobs/{job}"), format!("/v1/jobs/{job}/history"), "/v1/events?limit=100".to_owned()] {
        places.push(("an answer", client.get(&path).await.text));
    }
    for table in ["jobs", "job_events", "outbox", "audit", "saves", "save_copies", "save_objects", "targets", "servers"]
    {
        let rows: Option<String> =
            app.value(&format!("SELECT string_agg(to_jsonb(t)::text, ' ') FROM {table} t")).await;
        places.push((table, rows.unwrap_or_default()));
    }
    for (form, text) in forms(secret) {
        for (place, content) in &places {
            assert!(!content.contains(&text), "the secret stands {form} in {place}");
        }
    }
}

/// Asks for a restore with owners and privileges as wanted. The job's id.
async fn restore_as(app: &App, save: &str, into: &str, owner: &str, privileges: &str) -> String {
    let body = json!({ "into": { "database": into }, "owner": owner, "privileges": privileges });
    app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id()
}
