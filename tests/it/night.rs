//! Schedules while nobody looks: slots that fire once however many schedulers there are, what becomes of those that do not
//! fire, and what is told of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod crash;
mod discovery;
mod fires;
mod jumps;
mod missed;
mod overdue;
mod skipped;
mod three;
mod together;
mod unreachable;

use serde_json::{Value, json};
use support::{App, Listener, WorkerSpec, stack, until};
use uuid::Uuid;

/// What a schedule covers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of<'a> {
    Target(&'a str),
    Service(&'a str),
    /// Its service and the server.
    Server(&'a str, &'a str),
}

/// A schedule as the API would write it. Its id.
pub(crate) async fn schedule(app: &App, of: Of<'_>, expression: &str, settings: Value) -> String {
    let id = Uuid::now_v7();
    let name = stack::fresh("s").replace('_', "-");
    let (covers, target, service, server) = match of {
        Of::Target(id) => {
            let service: Uuid = app.value(&format!("SELECT service_id FROM targets WHERE id = '{id}'")).await;
            ("target", Some(id), service.to_string(), None)
        }
        Of::Service(id) => ("service", None, id.to_owned(), None),
        Of::Server(service, id) => ("server", None, service.to_owned(), Some(id)),
    };
    let or_null = |id: Option<&str>| id.map_or("NULL".to_owned(), |id| format!("'{id}'"));
    app.execute(&format!(
        "INSERT INTO schedules (id, name, covers, target_id, service_id, server_id, expression, settings)
         VALUES ('{id}', '{name}', '{covers}', {}, '{service}', {}, '{expression}', '{settings}')",
        or_null(target),
        or_null(server)
    ))
    .await;
    id.to_string()
}

async fn pause(app: &App) {
    app.execute("UPDATE schedules SET paused_at = clock_timestamp()").await;
}

/// How many slots of the schedule are in this state.
async fn slots(app: &App, schedule: &str, state: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM schedule_slots WHERE schedule_id = '{schedule}' AND state = '{state}'");
    app.value(&sql).await
}

pub(crate) async fn slots_until(app: &App, schedule: &str, state: &str, least: i64) {
    until(&format!("{least} slots are {state}"), || async {
        (slots(app, schedule, state).await >= least).then_some(())
    })
    .await;
}

/// The reasons of the schedule's slots in this state, each once.
async fn reasons(app: &App, schedule: &str, state: &str) -> Vec<String> {
    let sql = format!(
        "SELECT DISTINCT coalesce(reason, '') FROM schedule_slots WHERE schedule_id = '{schedule}' AND state = '{state}' ORDER BY 1"
    );
    app.values(&sql).await
}

/// Every job has ended.
pub(crate) async fn idle(app: &App) {
    until("every job has ended", || async {
        let left: i64 = app.value("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')").await;
        (left == 0).then_some(())
    })
    .await;
}

/// A worker that schedules and runs no job of any target.
fn scheduler(name: &str) -> WorkerSpec {
    let few = ("HOLDFAST__DATABASE__MAX_CONNECTIONS".to_owned(), "3".to_owned());
    WorkerSpec { groups: vec!["nobody".to_owned()], slots: 1, envs: vec![few], ..WorkerSpec::named(name) }
}

/// The expression of one single second of the year, so many seconds from now.
pub(crate) async fn in_seconds(app: &App, seconds: i64) -> String {
    let at = format!("clock_timestamp() AT TIME ZONE 'UTC' + interval '{seconds} s'");
    app.value(&format!("SELECT to_char({at}, 'FMSS FMMI FMHH24 FMDD FMMM *')")).await
}

/// What was said with this event, once it was.
async fn event(listener: &Listener, kind: &str) -> Value {
    until(&format!("{kind} arrives"), || async {
        listener.heard().into_iter().find(|heard| heard.routing_key == kind).map(|heard| heard.body["data"].clone())
    })
    .await
}

pub(crate) fn nothing() -> Value {
    json!({})
}
