//! Servers that are away for a while, a disk that is full, and clocks that are wrong. What stops a server has the stack to
//! itself.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;
use support::{
    App, Database, Digest, Listener, TargetSpec, WorkerSpec, database,
    digest::auction,
    invariants::{self, events, remove_grid},
    process, stack, until,
};
use tokio::time::{Instant, sleep};

use super::{Line, Plan};
use crate::{
    chaos::bench::spec,
    engine::stores::{Held, Small, noise},
};

pub(super) async fn all(plan: &Plan) -> Vec<Line> {
    let mut lines = vec![disk_full().await, skew().await, postgres(plan).await];
    if plan.is_long {
        lines.push(broker(plan).await);
        lines.push(mongo(plan).await);
    }
    lines
}

/// The end of each: what the jobs did, and whether everything holds.
async fn finish(app: &App, mut line: Line, began: Instant) -> Line {
    let ended: Vec<Value> = app
        .values(
            "SELECT jsonb_build_object('what', kind || ' ' || state || ' at attempt ' || attempt, 'jobs', count(*), 'epochs', sum(epoch))
             FROM jobs GROUP BY kind, state, attempt",
        )
        .await;
    for row in &ended {
        line.jobs += row["jobs"].as_u64().unwrap();
        line.epochs += row["epochs"].as_u64().unwrap();
        line.ended(row["what"].as_str().unwrap(), row["jobs"].as_u64().unwrap());
    }
    line.violations.extend(invariants::broken(app).await);
    line.seconds = began.elapsed().as_secs_f64();
    line
}

/// Holdfast's own PostgreSQL goes away while a dump and a restore run.
async fn postgres(plan: &Plan) -> Line {
    let began = Instant::now();
    let _alone = stack::alone().await;
    let mut line = Line::new("Holdfast's PostgreSQL stopped in the middle of jobs", 1);
    let mut app = App::spawn_alone().await;
    let (source, other) = (Database::small().await, Database::create(&auction(5, 3000)).await);
    let target = app.target(&source).await;
    let of_other = app.target(&other).await;
    let worker = app.worker_with(&WorkerSpec { slots: 3, lease_s: 4.0, ..spec(&app, "one", "default", "") }).await;
    let save = app.saved(&of_other).await;
    let hold = source.hold("lots").await;
    let backup = app.backup(&target).await;
    source.dump_waits().await;
    let dumps: Vec<u32> = worker.descendants().iter().map(|(pid, _)| *pid).collect();
    let wanted = stack::fresh("new");
    let restore = app.restore(&save, &wanted).await;
    stack::act("stop", "meta").await;
    let stopped = Instant::now();
    until("the worker that cannot beat has ended its dump", || async {
        dumps.iter().all(|pid| !process::alive(*pid)).then_some(())
    })
    .await;
    line.hit(&format!("dump ended {} s after", stopped.elapsed().as_secs()));
    sleep(plan.outage.saturating_sub(stopped.elapsed())).await;
    stack::act("start", "meta").await;
    let back = Instant::now();
    hold.release().await;
    for job in [&backup, &restore] {
        until("the job is done", || async {
            let answer = app.client.get(&format!("/v1/jobs/{job}")).await;
            (answer.status == 200 && answer.body["state"] == "succeeded").then_some(())
        })
        .await;
    }
    line.slowest_s = back.elapsed().as_secs_f64();
    let (now, then) = (Digest::of(&wanted).await, Digest::of(&other.name).await);
    if now.rows != then.rows {
        line.violations.push("the restore is not whole".to_owned());
    }
    database::remove(&wanted).await;
    finish(&app, line, began).await
}

/// The broker goes away while jobs run: they do not mind, and every event arrives afterwards.
async fn broker(plan: &Plan) -> Line {
    let began = Instant::now();
    let _alone = stack::alone().await;
    let mut line = Line::new("broker stopped while jobs run", 1);
    let mut app = App::spawn_alone().await;
    let source = Database::create(&auction(5, 300)).await;
    let target = app.target(&source).await;
    let listener = Listener::open().await;
    let exchange = Some(listener.exchange.clone());
    let _worker = app.worker_with(&WorkerSpec { exchange, ..spec(&app, "one", "default", "") }).await;
    let mut jobs = vec![app.backup(&target).await];
    app.client.job_is(&jobs[0], "succeeded").await;
    stack::act("stop", "rabbit").await;
    let stopped = Instant::now();
    for _ in 0..20 {
        jobs.push(app.backup(&target).await);
    }
    for job in &jobs {
        app.client.job_is(job, "succeeded").await;
    }
    sleep(plan.outage.saturating_sub(stopped.elapsed())).await;
    stack::act("start", "rabbit").await;
    let back = Instant::now();
    let heard = events::check(&app, &listener).await;
    line.slowest_s = back.elapsed().as_secs_f64();
    line.violations.extend(heard.broken);
    (line.events, line.doubles) = (heard.events, heard.doubles);
    listener.close().await;
    finish(&app, line, began).await
}

/// MongoDB goes away while bytes flow into `GridFS`; the job goes on when it is back.
async fn mongo(plan: &Plan) -> Line {
    let began = Instant::now();
    let _alone = stack::alone().await;
    let mut line = Line::new("MongoDB stopped in the middle of an upload", 1);
    let mut app = App::spawn_alone().await;
    let source = noise().await;
    // Long pauses between attempts: the server is away for longer than five quick ones.
    let worker = WorkerSpec { backoff_base_s: plan.outage.as_secs_f64() / 6.0, ..spec(&app, "one", "default", "") };
    let held = Held::half_way(&mut app, &source, worker, &["grid"]).await;
    stack::act("stop", "mongo").await;
    let stopped = Instant::now();
    held.go();
    sleep(plan.outage.saturating_sub(stopped.elapsed())).await;
    stack::act("start", "mongo").await;
    let back = Instant::now();
    let job = until("the job is over", || async {
        let job = app.client.job(&held.job).await;
        job["finished_at"].is_string().then_some(job)
    })
    .await;
    line.slowest_s = back.elapsed().as_secs_f64();
    if job["state"] != "succeeded" {
        line.violations.push(format!("the job did not come back: {job}"));
    }
    let line = finish(&app, line, began).await;
    remove_grid(&app).await;
    line
}

/// A store on a file system that is too small, and then large enough.
async fn disk_full() -> Line {
    let began = Instant::now();
    let mut line = Line::new("disk full (a tmpfs of 4 MiB), then space again", 1);
    let mut app = App::spawn().await;
    let Some(small) = Small::mount(&app, "4m") else {
        line.hit("skipped: only root can mount a small file system");
        return line;
    };
    let source = noise().await;
    let worker = spec(&app, "one", "default", "");
    let worker = WorkerSpec { store_root: Some(small.path.clone()), backoff_base_s: 1.0, lease_s: 10.0, ..worker };
    let _worker = app.worker_with(&worker).await;
    let target = app.target(&source).await;
    let job = app.backup(&target).await;
    let job = app.client.job_until(&job, "failed once", |job| job["error"]["code"] == "store_full").await;
    line.hit("store_full");
    small.grow("256m");
    app.client.job_is(job["id"].as_str().unwrap(), "succeeded").await;
    // The check of the bytes looks into the installation's own directory.
    std::fs::remove_dir_all(app.store()).unwrap();
    small.copy_to(&app.store());
    finish(&app, line, began).await
}

/// Two workers whose clocks are twenty minutes apart: nobody takes anybody's job before its lease is over by the
/// database's clock, and then at once.
async fn skew() -> Line {
    let began = Instant::now();
    let mut line = Line::new("two workers' clocks 10 min ahead and 10 min behind", 2);
    let mut app = App::spawn().await;
    let source = Database::small().await;
    // Certificates are a matter of the clock too, and no matter here.
    let tls = TargetSpec { tls_mode: "disable".to_owned(), tls_ca: None, ..TargetSpec::of(&source.name) };
    let target = app.target_with(&tls).await;
    let skewed = |app: &App, name: &str, offset: &str| {
        let mut spec = spec(app, name, "default", "");
        spec.envs.push(("LD_PRELOAD".to_owned(), libfaketime()));
        spec.envs.push(("FAKETIME".to_owned(), offset.to_owned()));
        // Two clocks that differ from the server's, and each runs on as clocks do.
        spec.envs.push(("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()));
        WorkerSpec { lease_s: 2.0, beat_s: 0.4, ..spec }
    };
    for (first, second) in [("+10m", "-10m"), ("-10m", "+10m")] {
        let hold = source.hold("lots").await;
        let name = format!("a{}", first.len() + usize::from(first.starts_with('+')));
        let before = skewed_minute(first);
        let mut running = app.worker_with(&skewed(&app, &name, first)).await;
        let is_skewed = [before, skewed_minute(first)].iter().any(|minute| running.log().contains(minute));
        assert!(is_skewed, "the clock is right: {}", running.tail());
        let job = app.backup(&target).await;
        source.dump_waits().await;
        let mut other = app.worker_with(&skewed(&app, &format!("{name}b"), second)).await;
        // Three leases long nothing happens to a job whose worker beats.
        sleep(Duration::from_secs(6)).await;
        let now = app.client.job(&job).await;
        if now["attempt"] != 1 || now["state"] != "running" {
            line.violations.push(format!("{first} and {second}: taken away from a living worker: {now}"));
        }
        running.kill9().await;
        let killed = Instant::now();
        app.client.job_until(&job, "taken over", |job| job["attempt"].as_i64() == Some(2)).await;
        let waited = killed.elapsed();
        line.hit(&format!("{first} killed, {second} took over after {} s", waited.as_secs()));
        if waited < Duration::from_secs(1) || waited > Duration::from_secs(20) {
            line.violations.push(format!("{first} and {second}: taken over after {waited:?}"));
        }
        hold.release().await;
        app.client.job_is(&job, "succeeded").await;
        other.stop().await;
    }
    finish(&app, line, began).await
}

/// The minute that the skewed clock shows, as the worker's log writes it.
fn skewed_minute(offset: &str) -> String {
    let minutes = if offset.starts_with('+') { "+10 minutes" } else { "-10 minutes" };
    let date = stack::run(std::path::Path::new("/bin/date"), &["-u", "-d", minutes, "+%Y-%m-%dT%H:%M:"], &[]);
    date.trim().to_owned()
}

fn libfaketime() -> String {
    let found = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path().join("faketime"));
    let library = found.map(|dir: PathBuf| dir.join("libfaketimeMT.so.1")).find(|library| library.exists());
    let library = library
        .unwrap_or_else(|| panic!("libfaketime is not installed: `make up` installs it (Debian's package faketime)"));
    library.to_str().unwrap().to_owned()
}
