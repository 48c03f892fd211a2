//! Restores that are killed at random moments: right after the kill, before anybody goes on, nothing is there that is not
//! whole; then the next worker finishes.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use support::{
    App, Digest, Owned, TargetSpec, WorkerSpec, database,
    digest::{self, auction},
    invariants, stack, until,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Line, Plan, Rng, lane::remove_asides};
use crate::chaos::bench::spec;

pub(super) async fn killed(plan: &Plan) -> Line {
    let began = Instant::now();
    let what = "restores killed at random moments";
    let mut app = App::spawn_for_hours().await;
    let lanes = plan.lanes.max(2);
    let mut lanes_of = Vec::new();
    for n in 0..lanes {
        let source = Owned::create(&auction(11, [300, 8000][usize::try_from(n / 2 % 2).unwrap()])).await;
        let group = format!("g{n}");
        let spec = TargetSpec { target: json!({ "worker_group": group }), ..TargetSpec::of(&source.database.name) };
        lanes_of.push((source, group, app.target_with(&spec).await));
    }
    let app = Arc::new(app);
    let mut lanes_running = JoinSet::new();
    for (n, (source, group, target)) in lanes_of.into_iter().enumerate() {
        let n = u64::try_from(n).unwrap();
        let runs = plan.restores / lanes + u64::from(n < plan.restores % lanes);
        let (app, rng) = (Arc::clone(&app), Rng::new(plan.seed.wrapping_mul(31).wrapping_add(n)));
        let line = Line::new(what, runs);
        lanes_running.spawn(async move {
            if n % 2 == 0 {
                lane(app, source.database.name.clone(), group, target, runs, rng, line).await
            } else {
                in_place(app, &source, group, target, runs, rng, line).await
            }
        });
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
    source: String,
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
    let before = Digest::of(&source).await;
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
        if Digest::of(&source).await != before {
            line.violations.push(format!("{source} was changed by {job}"));
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
    line
}

/// The target's own database is replaced: at every moment it is what it was or what was saved.
async fn in_place(
    app: Arc<App>,
    source: &Owned,
    group: String,
    target: String,
    runs: u64,
    mut rng: Rng,
    mut line: Line,
) -> Line {
    let name = &source.database.name;
    let worker = |name: String| {
        let spec = spec(&app, &name, &group, "");
        app.worker_starting(&WorkerSpec { lease_s: 2.0, beat_s: 0.4, ..spec })
    };
    let mut running = worker(format!("{group}-first"));
    let save = app.saved(&target).await;
    let saved = source.digest().await;
    for run in 1..=runs {
        let harm = format!(
            "SET ROLE {}; UPDATE lots SET note = 'lost in {run}' WHERE id % 3 = 0; DELETE FROM bids WHERE id % 5 = 0; CREATE TABLE IF NOT EXISTS later ()",
            source.role
        );
        database::run(&mut source.database.session().await, &harm).await;
        let harmed = source.digest().await;
        let body = json!({ "into": {}, "confirm": name, "safety": rng.below(4) == 0 });
        let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
        until("the restore runs", || async {
            let state: String = app.value(&format!("SELECT state FROM jobs WHERE id = '{job}'")).await;
            (state != "queued").then_some(())
        })
        .await;
        sleep(Duration::from_millis(rng.below(1100) as u64)).await;
        let phase: Option<String> =
            app.value(&format!("SELECT CASE WHEN state = 'running' THEN coalesce(phase, 'claimed') ELSE 'over' END FROM jobs WHERE id = '{job}'")).await;
        line.hit(&format!("in place, {}", phase.unwrap_or_default()));
        running.kill9().await;
        let now = source.digest().await;
        if now != harmed && now != saved {
            line.violations.push(format!("{name} is neither old nor new after {job} was killed: {now:?}"));
        }
        running = worker(format!("{group}-{run}"));
        let began = Instant::now();
        let over = app.client.job_until(&job, "over", |job| job["finished_at"].is_string()).await;
        line.slowest_s = line.slowest_s.max(began.elapsed().as_secs_f64());
        let (state, code) = (over["state"].as_str().unwrap(), over["error"]["code"].as_str().unwrap_or_default());
        line.ended(format!("restore in place {state} {code}").trim_end(), 1);
        let now = source.digest().await;
        let wanted = if state == "succeeded" { &saved } else { &harmed };
        if now != *wanted || (state != "succeeded" && code != "swap_not_done") {
            line.violations.push(format!("{name} is not what the job says: {now:?} {over}"));
        }
        if run % 10 == 0 {
            line.progress(run, runs);
        }
    }
    let sql =
        format!("SELECT coalesce(sum(epoch), 0)::bigint FROM jobs WHERE kind = 'restore' AND target_id = '{target}'");
    line.epochs = app.value::<i64>(&sql).await.unsigned_abs();
    line.jobs = runs;
    remove_asides(name).await;
    line
}

async fn whole(before: &Digest, wanted: &str, job: &str, line: &mut Line) {
    let now = Digest::of(wanted).await;
    if (&now.rows, &now.sequences) != (&before.rows, &before.sequences) {
        line.violations.push(format!("{wanted} of {job} has its name and is not whole"));
    }
}
