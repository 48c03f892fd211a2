//! Dry runs against real servers: each thing that would make a restore fail is told beforehand, and nothing is changed.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod copies;
mod nothing;
mod privileges;
mod roles;
mod tied;
mod versions;

use serde_json::{Value, json};
use support::{App, database};

/// The report of a dry run.
async fn look(app: &App, save: &str, body: Value) -> Value {
    let mut body = body;
    body["dry_run"] = json!(true);
    let job = app.client.post(&format!("/v1/saves/{save}/restore?wait=60s"), body).await.expect(202);
    assert_eq!((&job["kind"], &job["state"]), (&json!("preflight"), &json!("succeeded")), "{job:#}");
    job["result"].clone()
}

/// `error role_missing`, in the order of the report.
fn told(report: &Value) -> Vec<String> {
    let problems = report["problems"].as_array().unwrap();
    for problem in problems {
        for part in ["message", "hint"] {
            assert!(problem[part].as_str().is_some_and(|text| text.len() > 10), "no {part} in {problem:#}");
        }
    }
    let fails = problems.iter().any(|problem| problem["severity"] == "error");
    assert_eq!(report["would_fail"], json!(fails), "{report:#}");
    let word = |problem: &Value, key: &str| problem[key].as_str().unwrap().to_owned();
    problems.iter().map(|problem| format!("{} {}", word(problem, "severity"), word(problem, "code"))).collect()
}

/// The message of the problem with this code.
#[track_caller]
fn message<'r>(report: &'r Value, code: &str) -> &'r str {
    let problem = report["problems"].as_array().unwrap().iter().find(|problem| problem["code"] == code);
    problem.unwrap_or_else(|| panic!("no {code} in {report:#}"))["message"].as_str().unwrap()
}

/// Statements on the stack's target server, one after another.
async fn on_server(sql: &str) {
    database::run(&mut database::connect("postgres").await, sql).await;
}

/// As [`look`], until the report is this one: a session's end is seen by the server a moment later.
async fn until_told(app: &App, save: &str, body: Value, wanted: &[&str]) -> Value {
    support::until(&format!("a dry run tells {wanted:?}"), || async {
        let report = look(app, save, body.clone()).await;
        (told(&report) == wanted).then_some(report)
    })
    .await
}
