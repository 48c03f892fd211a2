//! What must hold whenever no job runs, whatever happened before: the promises of a backup system in one place.

use std::{collections::BTreeSet, path::Path};

use crate::{app::App, process, stack, wait::until};

/// Panics with every broken promise.
pub async fn check(app: &App) {
    let mut broken = Vec::new();
    until("no job runs", || async {
        let running: i64 = app.value("SELECT count(*) FROM jobs WHERE state = 'running'").await;
        (running == 0).then_some(())
    })
    .await;
    rows(app, &mut broken).await;
    files(app, &mut broken).await;
    secrets(app, &mut broken).await;
    assert!(broken.is_empty(), "broken promises:\n- {}", broken.join("\n- "));
}

/// Promises that rows alone can break.
async fn rows(app: &App, broken: &mut Vec<String>) {
    let questions = [
        (
            "a save is available without its required good copies",
            "SELECT s.id::text FROM saves s JOIN targets t ON t.id = s.target_id WHERE s.state = 'available'
             AND (SELECT count(*) FROM save_copies c WHERE c.save_id = s.id AND c.state = 'good') < 1",
        ),
        (
            "a save waits for a job that has ended",
            "SELECT s.id::text FROM saves s JOIN jobs j ON j.id = s.job_id
             WHERE s.state = 'pending' AND j.state IN ('succeeded', 'failed', 'cancelled')",
        ),
        (
            "a succeeded backup has no available save",
            "SELECT j.id::text FROM jobs j JOIN saves s ON s.id = j.save_id
             WHERE j.kind = 'backup' AND j.state = 'succeeded' AND s.state = 'pending'",
        ),
        (
            "an ended job still uses a save",
            "SELECT u.job_id::text FROM save_uses u JOIN jobs j ON j.id = u.job_id WHERE j.state <> 'running'",
        ),
        (
            "a job's end has no event, or more than one",
            "SELECT j.id::text FROM jobs j WHERE j.state IN ('succeeded', 'failed', 'cancelled')
             AND (SELECT count(*) FROM outbox o WHERE o.subject = 'jobs/' || j.id AND o.type = 'job.' || j.state) <> 1",
        ),
        (
            "an available save has no event, or more than one",
            "SELECT s.id::text FROM saves s WHERE s.state = 'available'
             AND (SELECT count(*) FROM outbox o WHERE o.subject = 'saves/' || s.id AND o.type = 'save.completed') <> 1",
        ),
        (
            "a job's history does not end where the job is",
            "SELECT j.id::text FROM jobs j WHERE j.state IS DISTINCT FROM
             (SELECT e.to_state FROM job_events e WHERE e.job_id = j.id ORDER BY e.id DESC LIMIT 1)",
        ),
    ];
    for (promise, sql) in questions {
        for id in app.values::<String>(sql).await {
            broken.push(format!("{promise}: {id}"));
        }
    }
}

/// What lies in store `disk`, against the rows.
async fn files(app: &App, broken: &mut Vec<String>) {
    let named: Vec<String> =
        app.values("SELECT unnest(ARRAY[key, '.tmp/' || upload_ref]) FROM save_objects WHERE store = 'disk'").await;
    let named: BTreeSet<String> = named.into_iter().collect();
    let root = app.store();
    let mut found = BTreeSet::new();
    walk(&root, &root, &mut found);
    for file in &found {
        // The marker of the installation lies at the root; an upload that was cut off lies beside its key.
        if file.contains('/') && !named.iter().any(|key| file == key || file.starts_with(&format!("{key}."))) {
            broken.push(format!("no row names the object {file}"));
        }
    }
    let stored = "SELECT o.key || ' ' || o.stored_bytes || ' ' || encode(o.sha256, 'hex') FROM save_objects o
        JOIN save_copies c ON c.save_id = o.save_id AND c.store = o.store JOIN saves s ON s.id = o.save_id
        WHERE o.store = 'disk' AND o.state = 'stored' AND c.state = 'good' AND s.state = 'available'";
    for line in app.values::<String>(stored).await {
        let words: Vec<&str> = line.rsplitn(3, ' ').collect();
        let (sha256, bytes, key) = (words[0], words[1], words[2]);
        match std::fs::read(root.join(key)) {
            Err(error) => broken.push(format!("the object {key} of an available save: {error}")),
            Ok(content) => {
                let digest = stack::run(Path::new("/usr/bin/sha256sum"), &[root.join(key).to_str().unwrap()], &[]);
                if content.len().to_string() != bytes || !digest.contains(sha256) {
                    broken.push(format!("the object {key} of an available save is not what was stored"));
                }
            }
        }
    }
}

fn walk(root: &Path, dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            walk(root, &entry.path(), found);
        } else {
            found.insert(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// Passwords lie nowhere, and nothing of a job runs any more.
async fn secrets(app: &App, broken: &mut Vec<String>) {
    let run = app.dir.path().join("run");
    let mut workers = BTreeSet::new();
    for (pid, _, line) in process::table() {
        if line.contains(app.dir.path().to_str().unwrap()) {
            workers.insert(pid.to_string());
        }
    }
    for entry in std::fs::read_dir(&run).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        // Of a killed worker they stay until the next one starts.
        let owner = name.split('-').nth(1).unwrap_or_default().to_owned();
        if workers.contains(&owner) {
            broken.push(format!("secrets of no job lie in {name}"));
        }
    }
    let logs = app.logs();
    let rows: String = app
        .value(
            "SELECT coalesce(string_agg(t, ' '), '') FROM (SELECT to_jsonb(j)::text t FROM jobs j UNION ALL SELECT to_jsonb(e)::text FROM job_events e
             UNION ALL SELECT to_jsonb(o)::text FROM outbox o UNION ALL SELECT to_jsonb(a)::text FROM audit a UNION ALL SELECT to_jsonb(s)::text FROM saves s) x",
        )
        .await;
    for role in ["BACKUP", "RESTORE", "SUPER"] {
        let password = stack::setting(&format!("TARGET_{role}_PASSWORD"));
        for (form, text) in forms(&password) {
            for (place, content) in [("the logs", &logs), ("the rows", &rows)] {
                if content.contains(&text) {
                    broken.push(format!("the password of {role} stands {form} in {place}"));
                }
            }
        }
    }
}

/// A secret as it may leak: raw, as JSON writes it, percent-encoded, in base64.
pub fn forms(secret: &str) -> Vec<(&'static str, String)> {
    use base64::Engine;
    let json = serde_json::to_string(secret).unwrap();
    let percent: String = secret
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect();
    vec![
        ("raw", secret.to_owned()),
        ("in JSON", json[1..json.len() - 1].to_owned()),
        ("percent-encoded", percent),
        ("in base64", base64::engine::general_purpose::STANDARD.encode(secret)),
    ]
}
