//! Workers that are killed or frozen, and PostgreSQL that goes away: the job runs again, and only once counts.

use std::time::Duration;

use support::{App, Database, Process, Proxy, WorkerSpec, process, stack, until};

/// Waits until the job runs under a higher epoch than its first.
async fn taken_over(app: &App, job: &str) {
    app.client
        .job_until(job, "taken over", |job| job["state"] == "running" && job["attempt"].as_i64() == Some(2))
        .await;
}

fn children(worker: &Process) -> Vec<u32> {
    let children: Vec<u32> = worker.descendants().iter().map(|(pid, _)| *pid).collect();
    assert!(!children.is_empty(), "no dump runs");
    children
}

#[tokio::test]
async fn jobs_of_a_killed_worker_run_on_its_peer() {
    let databases = [Database::small().await, Database::small().await];
    let mut app = App::spawn().await;
    let targets = [app.target(&databases[0]).await, app.target(&databases[1]).await];
    let holds = [databases[0].hold("lots").await, databases[1].hold("lots").await];
    let mut killed = app.worker("a").await;
    let jobs = [app.backup(&targets[0]).await, app.backup(&targets[1]).await];
    databases[0].dump_waits().await;
    databases[1].dump_waits().await;
    let peer = app.worker("b").await;
    let orphans = children(&killed);
    killed.kill9().await;
    until("the children of the killed worker are gone", || async {
        orphans.iter().all(|pid| !process::alive(*pid)).then_some(())
    })
    .await;
    for job in &jobs {
        taken_over(&app, job).await;
    }
    for hold in holds {
        hold.release().await;
    }
    for job in &jobs {
        let done = app.client.job_is(job, "succeeded").await;
        assert_eq!(done["attempt"], 2, "{done:#}");
        assert_eq!(app.history(job).await, ["queued", "running", "queued", "running", "succeeded"]);
    }
    for database in &databases {
        until("no session is left on the target", || async { database.sessions().await.is_empty().then_some(()) })
            .await;
    }
    assert!(peer.descendants().is_empty());
    app.holds().await;
}

#[tokio::test]
async fn a_worker_restarted_under_its_own_name_takes_its_job_up_again() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let hold = database.hold("lots").await;
    let mut worker = app.worker("a").await;
    let job = app.backup(&target).await;
    database.dump_waits().await;
    let secrets = || -> Vec<String> {
        let entries = std::fs::read_dir(app.dir.path().join("run")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert!(!secrets().is_empty(), "a running dump has its password in a file");
    worker.kill9().await;
    let left = secrets();
    assert!(!left.is_empty(), "nobody was there to remove it");
    let _again = app.worker("a").await;
    let still = secrets();
    assert!(
        !left.iter().any(|name| still.contains(name)),
        "what a killed worker left is swept at the start: {still:?}"
    );
    taken_over(&app, &job).await;
    hold.release().await;
    app.client.job_is(&job, "succeeded").await;
    app.holds().await;
}

#[tokio::test]
async fn a_worker_frozen_past_its_lease_writes_nothing_when_it_thaws() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let hold = database.hold("lots").await;
    let mut frozen = app.worker("a").await;
    let job = app.backup(&target).await;
    database.dump_waits().await;
    let dumps = children(&frozen);
    frozen.freeze();
    let _peer = app.worker("b").await;
    taken_over(&app, &job).await;
    hold.release().await;
    let done = app.client.job_is(&job, "succeeded").await;
    frozen.thaw();
    frozen.says("the lease was lost; whatever this attempt did is not recorded").await;
    until("the dump of the frozen worker is gone", || async {
        dumps.iter().all(|pid| !process::alive(*pid)).then_some(())
    })
    .await;
    let now = app.client.job(&job).await;
    assert_eq!(
        (&now["state"], &now["epoch"], &now["finished_at"]),
        (&done["state"], &done["epoch"], &done["finished_at"])
    );
    let winners: i64 = app.value("SELECT count(DISTINCT epoch) FROM save_objects WHERE state = 'stored'").await;
    assert_eq!(winners, 1, "objects of one attempt alone are the save");
    // It is as good as new.
    let next = app.backup(&target).await;
    app.client.job_is(&next, "succeeded").await;
    app.holds().await;
}

#[tokio::test]
async fn a_job_goes_on_while_postgresql_restarts() {
    let _alone = stack::alone().await;
    for how in ["restart", "kill9"] {
        let database = Database::small().await;
        let mut app = App::spawn_alone().await;
        let target = app.target(&database).await;
        let hold = database.hold("lots").await;
        let spec = WorkerSpec { lease_s: 60.0, ..WorkerSpec::named("a") };
        let mut worker = app.worker_with(&spec).await;
        let job = app.backup(&target).await;
        database.dump_waits().await;
        stack::act(how, "meta").await;
        if how == "kill9" {
            stack::act("start", "meta").await;
        }
        hold.release().await;
        let done = until("the API answers again and the job is done", || async {
            let answer = app.client.get(&format!("/v1/jobs/{job}")).await;
            (answer.status == 200 && answer.body["state"] == "succeeded").then_some(answer.body)
        })
        .await;
        assert_eq!(done["attempt"], 1, "{done:#}");
        assert_eq!(app.history(&job).await, ["queued", "running", "succeeded"]);
        let next = app.backup(&target).await;
        app.client.job_is(&next, "succeeded").await;
        assert!(!worker.has_ended());
        app.holds().await;
    }
}

#[tokio::test]
async fn a_worker_that_cannot_beat_stops_before_another_could_start() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let hold = database.hold("lots").await;
    let (proxy, through) = Proxy::before(&app.database_url()).await;
    let cut_off = app.worker_with(&WorkerSpec { database_url: Some(through), ..WorkerSpec::named("a") }).await;
    let job = app.backup(&target).await;
    database.dump_waits().await;
    let dumps = children(&cut_off);
    // No sweeper yet but the one that is cut off: the lease runs out unseen, and the strict beat alone must end the dump.
    proxy.stall();
    until("the dump is ended by its own worker", || async {
        dumps.iter().all(|pid| !process::alive(*pid)).then_some(())
    })
    .await;
    let state: String = app.value(&format!("SELECT state FROM jobs WHERE id = '{job}'")).await;
    assert_eq!(state, "running", "nobody has taken the job away yet");
    let _peer = app.worker("b").await;
    taken_over(&app, &job).await;
    hold.release().await;
    app.client.job_is(&job, "succeeded").await;
    proxy.heal();
    app.holds().await;
}

#[tokio::test]
async fn a_lost_reply_to_the_last_commit_loses_nothing_in_100_runs() {
    let database = Database::create("CREATE TABLE lots (id int); INSERT INTO lots VALUES (1)").await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let (proxy, through) = Proxy::before(&app.database_url()).await;
    // The statement that ends an attempt, by words that no other statement has.
    proxy.lose_commits_of("greatest(attempt - 1, 0)");
    let spec = WorkerSpec { database_url: Some(through), lease_s: 30.0, slots: 1, ..WorkerSpec::named("a") };
    let mut worker = app.worker_with(&spec).await;
    let mut jobs = Vec::new();
    for _ in 0..100 {
        jobs.push(app.backup(&target).await);
    }
    for job in &jobs {
        let done = app.client.job_is(job, "succeeded").await;
        assert_eq!(done["attempt"], 1, "{done:#}");
    }
    assert!(proxy.lost() >= 100, "only {} replies were lost", proxy.lost());
    let saves: i64 = app.value("SELECT count(*) FROM saves WHERE state = 'available'").await;
    assert_eq!(saves, 100);
    let epochs: Vec<i64> = app.values("SELECT DISTINCT epoch FROM jobs").await;
    assert_eq!(epochs, [1], "no attempt was taken for lost");
    assert!(tokio::time::timeout(Duration::from_mins(1), worker.stop()).await.unwrap().success());
    app.holds().await;
}
