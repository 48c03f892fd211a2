//! Parts of saves (design §8): tables with all that belongs to them, structure or rows alone, into new databases and into
//! those that exist; and that nothing is changed where that is not possible. Before and after are told by psql and `pg_dump`.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod crash;
mod damage;
mod dependents;
mod new;
mod replace;
mod requests;
mod rows;
mod versions;

use serde_json::{Value, json};
use support::{App, Database, Process, TargetSpec, database, stack};

/// A table with everything, and what refers to it.
const EVERYTHING: &str = include_str!("parts/everything.sql");

/// An installation whose target may be changed, and a save of it.
struct Saved {
    app: App,
    _worker: Process,
    source: Database,
    target: String,
    save: String,
}

impl Saved {
    async fn of(sql: &str) -> Self {
        Self::backed_up(sql, json!({ "mode": "all" })).await
    }

    async fn backed_up(sql: &str, backup: Value) -> Self {
        let mut app = App::spawn().await;
        one_attempt(&app).await;
        let source = Database::create(sql).await;
        let worker = app.worker("one").await;
        let target = app.target_with(&owned(&source.name)).await;
        let job = app.client.post(&format!("/v1/targets/{target}/backups"), backup).await.id();
        let job = app.client.job_is(&job, "succeeded").await;
        let save = job["save_id"].as_str().unwrap().to_owned();
        Self { app, _worker: worker, source, target, save }
    }

    /// Asks for a restore. The job's id.
    async fn ask(&self, body: Value) -> String {
        self.app.client.post(&format!("/v1/saves/{}/restore", self.save), body).await.id()
    }

    /// Restores into the target's own database; the finished job.
    async fn restore(&self, mut body: Value) -> Value {
        let own = json!({ "into": { "database": self.source.name }, "confirm": self.source.name,
                          "owner": "keep", "privileges": "keep" });
        if body.get("into").is_none() {
            body["safety"] = false.into();
        }
        for (key, value) in own.as_object().unwrap() {
            if body.get(key).is_none() {
                body[key] = value.clone();
            }
        }
        let job = self.ask(body).await;
        self.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await
    }

    /// As [`Saved::restore`], of these tables with all they have.
    async fn tables(&self, tables: &[(&str, &str)]) -> Value {
        self.restore(json!({ "tables": names(tables) })).await
    }

    /// The refusal or failure of a restore that must leave the target as it is. Its error.
    async fn fails(&self, body: Value, code: &str) -> Value {
        let before = digest(&self.source.name);
        let job = self.restore(body).await;
        assert_eq!(job["state"], "failed", "{job:#}");
        let error = job["error"].clone();
        assert_eq!(error["code"], code, "{error:#}");
        assert_eq!(error["retryable"], false, "{error:#}");
        for part in ["message", "hint"] {
            assert!(error[part].as_str().is_some_and(|text| text.len() > 10), "no {part} in {error:#}");
        }
        assert_eq!(digest(&self.source.name), before, "a failed restore changed the target");
        error
    }
}

/// A target whose restore credential may do anything.
fn owned(database: &str) -> TargetSpec {
    let superuser = (stack::setting("TARGET_SUPER_USER"), stack::setting("TARGET_SUPER_PASSWORD"));
    TargetSpec { restore: superuser.clone(), backup: superuser, ..TargetSpec::of(database) }
}

fn names(tables: &[(&str, &str)]) -> Value {
    tables.iter().map(|(schema, table)| json!({ "schema": schema, "table": table })).collect()
}

#[track_caller]
fn succeeded(job: &Value) {
    assert_eq!(job["state"], "succeeded", "{job:#}");
}

/// Failures of this installation are final at the first attempt.
async fn one_attempt(app: &App) {
    app.execute(
        "CREATE FUNCTION one_attempt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.max_attempts := 1; RETURN NEW; END $$;
         CREATE TRIGGER one_attempt BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION one_attempt()",
    )
    .await;
}

/// What psql says on the target server.
fn psql(database: &str, commands: &[&str]) -> String {
    let mut args = vec!["-X", "-v", "ON_ERROR_STOP=1"];
    args.extend(commands.iter().flat_map(|command| ["-c", command]));
    stack::run(&database::tool("psql"), &args, &as_superuser(database).each_ref().map(|(k, v)| (*k, v.as_str())))
}

fn as_superuser(database: &str) -> [(&'static str, String); 5] {
    [
        ("PGHOST", stack::setting("TARGET_HOST")),
        ("PGPORT", stack::setting("TARGET_PORT")),
        ("PGUSER", stack::setting("TARGET_SUPER_USER")),
        ("PGPASSWORD", stack::setting("TARGET_SUPER_PASSWORD")),
        ("PGDATABASE", database.to_owned()),
    ]
}

/// Everything that psql knows of the tables of schema app and other, privileges and sequences too.
fn described(database: &str) -> String {
    psql(database, &["\\d+ app.*", "\\d+ other.*", "\\dp app.*", "\\dp other.*", "\\dX app.*", "\\dd app.*"])
}

/// The whole content, as text: two equal ones are two equal databases.
fn digest(database: &str) -> String {
    stack::run(
        &database::tool("pg_dump"),
        &["--restrict-key=holdfast"],
        &as_superuser(database).each_ref().map(|(k, v)| (*k, v.as_str())),
    )
}

/// The first lines in which two texts differ.
#[track_caller]
fn same(what: &str, before: &str, after: &str) {
    if before == after {
        return;
    }
    let (mut old, mut new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let all = (old.clone(), new.clone());
    old.retain(|line| !all.1.contains(line));
    new.retain(|line| !all.0.contains(line));
    old.truncate(15);
    new.truncate(15);
    panic!("{what} differs:\n-{}\n+{}", old.join("\n-"), new.join("\n+"));
}
