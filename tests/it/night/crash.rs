//! A worker that is killed at the scheduler's commit: each slot has fired once.

use support::{App, WorkerSpec};

use super::{Of, idle, in_seconds, nothing, schedule, slots, slots_until};
use crate::chaos::bench::{killed, source, spec};

#[tokio::test]
async fn a_scheduler_that_dies_at_its_commit_has_fired_each_slot_once() {
    let source = source().await;
    let mut app = App::spawn().await;
    for (point, ran) in [("schedule.commit.before", 0), ("schedule.commit.after", 1)] {
        let target = app.target(&source).await;
        let expression = in_seconds(&app, 4).await;
        let schedule = schedule(&app, Of::Target(&target), &expression, nothing()).await;
        // The first passage is that of the round that plans, the second that of the one that fires.
        let script = format!("{point}=kill:2");
        let group = vec!["default".to_owned()];
        let name = point.replace('.', "-");
        let first = WorkerSpec { groups: group.clone(), ..spec(&app, &format!("{name}-a"), "default", &script) };
        let mut first = app.worker_starting(&first);
        killed(&mut first, &script).await;
        assert_eq!(slots(&app, &schedule, "ran").await, ran, "{point}");
        let _second =
            app.worker_with(&WorkerSpec { groups: group, ..spec(&app, &format!("{name}-b"), "default", "") }).await;
        slots_until(&app, &schedule, "ran", 1).await;
        idle(&app).await;
        let saves: Vec<String> = app.values(&format!("SELECT state FROM saves WHERE schedule_id = '{schedule}'")).await;
        assert_eq!(saves, ["available"], "{point}");
        assert_eq!(slots(&app, &schedule, "missed").await, 0);
    }
    app.holds().await;
}
