//! A slot that was fired, and whose server did not answer.

use support::{App, Database, Listener, TargetSpec, WorkerSpec};

use super::{Of, event, in_seconds, nothing, reasons, schedule, slots_until};

#[tokio::test]
async fn a_slot_whose_server_cannot_be_reached_says_so() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = app.target_with(&TargetSpec { port, ..TargetSpec::of(&database.name) }).await;
    let listener = Listener::open().await;
    let worker = WorkerSpec { exchange: Some(listener.exchange.clone()), ..WorkerSpec::named("a") };
    let _worker = app.worker_with(&worker).await;
    let expression = in_seconds(&app, 3).await;
    let schedule = schedule(&app, Of::Target(&target), &expression, nothing()).await;
    slots_until(&app, &schedule, "unreachable", 1).await;
    let why = reasons(&app, &schedule, "unreachable").await.remove(0);
    assert!(why.contains(&format!(":{port}")), "{why}");
    let data = event(&listener, "slot.unreachable").await;
    assert_eq!((&data["schedule_id"], &data["target_id"]), (&schedule.into(), &target.into()));
    assert_eq!(data["error"]["code"], "server_unreachable", "{data:#}");
    listener.close().await;
    app.holds().await;
}
