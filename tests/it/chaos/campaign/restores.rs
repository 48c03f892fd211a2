//! Restores that are killed at random moments: right after the kill, before anybody goes on, nothing is there that is not
//! whole; then the next worker finishes.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use support::{
    App, Database, Digest, TargetSpec, WorkerSpec, database,
    digest::{self, auction},
    invariants, stack, until,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Line, Plan, Rng};
use crate::chaos::bench::spec;

pub(super) async fn killed(plan: &Plan) -> Line {
    let began = Instant::now();
    let what = "restores killed at random moments";
    let mut app = App::spawn().await;
    let lanes = plan.lanes.max(2);
    let mut lanes_of = Vec::new();
    for n in 0..lanes {
        let source = Database::create(&auction(11, [300, 8000][usize::try_from(n % 2).unwrap()])).await;
        let group = format!("g{n}");
        let spec = TargetSpec { target: json!({ "worker_group": group }), ..TargetSpec::of(&source.name) };
        lanes_of.push((source, group, app.target_with(&spec).await));
    }
    let app = Arc::new(app);
    let mut lanes_running = JoinSet::new();
    for (n, (source, group, target)) in lanes_of.into_iter().enumerate() {
        let n = u64::try_from(n).unwrap();
        let runs = plan.restores / lanes + u64::from(n < plan.restores % lanes);
        let (app, rng) = (Arc::clone(&app), Rng::new(plan.seed.wrapping_mul(31).wrapping_add(n)));
        lanes_running.spawn(lane(app, source, group, target, runs, rng, Line::new(what, runs)));
    }
    let mut line = Line::new(what, plan.restores);
    while let Some(done) = lanes_running.join_next().await {
        match done {
            Ok(done) => line.add(done),
            Err(error) => line.violations.push(format!("a lane ended: {error}")),
        }
    }
    line.violations.extend(invariants::broken(&app).await);
    line.seconds = began.elapsed().as_secs_f64();
    line
}

async fn lane(
    app: Arc<App>,
    source: Database,
    group: String,
    target: String,
    runs: u64,
    mut rng: Rng,
    mut line: Line,
) -> Line {
    let worker = |name: String| {
        let spec = spec(&app, &name, &group, "");
        app.worker_starting(&WorkerSpec { lease_s: 2.0, beat_s: 0.4, ..spec })
    };
    let mut running = worker(format!("{group}-first"));
    let save = app.saved(&target).await;
    let before = Digest::of(&source.name).await;
    for run in 1..=runs {
        let wanted = stack::fresh("new");
        let job = app.restore(&save, &wanted).await;
        until("the restore runs", || async {
            let state: String = app.value(&format!("SELECT state FROM jobs WHERE id = '{job}'")).await;
            (state != "queued").then_some(())
        })
        .await;
        sleep(Duration::from_millis(rng.below(700) as u64)).await;
        let phase: Option<String> =
            app.value(&format!("SELECT CASE WHEN state = 'running' THEN coalesce(phase, 'claimed') ELSE 'over' END FROM jobs WHERE id = '{job}'")).await;
        line.hit(&phase.unwrap_or_default());
        running.kill9().await;
        // Nobody has come to tidy up yet.
        if Digest::of(&source.name).await != before {
            line.violations.push(format!("{} was changed by {job}", source.name));
        }
        if database::exists(&wanted).await {
            whole(&before, &wanted, &job, &mut line).await;
        }
        running = worker(format!("{group}-{run}"));
        let began = Instant::now();
        app.client.job_is(&job, "succeeded").await;
        line.slowest_s = line.slowest_s.max(began.elapsed().as_secs_f64());
        whole(&before, &wanted, &job, &mut line).await;
        if !digest::named(&job.replace('-', "")).await.is_empty() {
            line.violations.push(format!("databases of {job} are left"));
        }
        database::remove(&wanted).await;
        if run % 10 == 0 {
            line.progress(run, runs);
        }
    }
    let sql =
        format!("SELECT coalesce(sum(epoch), 0)::bigint FROM jobs WHERE kind = 'restore' AND target_id = '{target}'");
    line.epochs = app.value::<i64>(&sql).await.unsigned_abs();
    line.jobs = runs;
    line.ended("restore succeeded", runs);
    source.remove().await;
    line
}

async fn whole(before: &Digest, wanted: &str, job: &str, line: &mut Line) {
    let now = Digest::of(wanted).await;
    if (&now.rows, &now.sequences) != (&before.rows, &before.sequences) {
        line.violations.push(format!("{wanted} of {job} has its name and is not whole"));
    }
}
