//! A worker is killed at every failpoint, once, and the next one finishes: nothing is lost, nothing is left, and what is
//! there is whole.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use shared::failpoint::NAMES;
use support::{
    App, Database, Listener, database, digest,
    invariants::{events, remove_grid},
    stack, until,
};

use super::bench::{killed, passed, same_rows, source, spec, target};

/// Killed in a backup into two stores, `disk` first; at which passages.
const BACKUP: &[(&str, &[u64])] = &[
    ("claim.commit.before", &[1]),
    ("claim.commit.after", &[1]),
    ("store.claim.before", &[1, 2]),
    ("store.claim.after", &[1, 2]),
    ("store.prepare.before", &[1]),
    ("store.prepare.after", &[1, 4]),
    ("backup.name.before", &[1, 6]),
    ("backup.name.after", &[1, 2]),
    ("store.upload.before", &[2]),
    ("store.upload.after", &[1, 2]),
    ("store.write.before", &[1]),
    ("store.write.after", &[1, 2]),
    ("store.end.before", &[1]),
    ("store.end.after", &[2, 3]),
    ("backup.exited", &[1, 2]),
    ("store.commit.before", &[1, 2, 6]),
    // Object by object: dump, roles and manifest, in `disk` and in `grid`.
    ("store.commit.after", &[1, 2, 4, 5, 6]),
    ("finish.commit.before", &[1]),
    ("finish.commit.after", &[1]),
];

/// Killed while a failed backup takes its bytes away again.
const FAILING: &[&str] = &[
    "store.abort.before",
    "store.abort.after",
    "store.discard.before",
    "store.discard.after",
    "store.delete.before",
    "store.delete.after",
    "backup.discarded.before",
    "backup.discarded.after",
];

/// Killed in a restore into a new database.
const RESTORE: &[&str] = &[
    "store.read.before",
    "store.read.after",
    "restore.create.before",
    "restore.create.after",
    "restore.mark.after",
    "restore.tool.started",
    "restore.tool.ended",
    "restore.compare.before",
    "restore.settle.after",
    "restore.publish.before",
    "restore.publish.after",
];

/// Killed while a restore takes away what an older attempt of its job had left.
const LEFTOVER: &[&str] = &["restore.drop.before", "restore.drop.after"];

const RELAY: &[&str] = &[
    "relay.sequence.before",
    "relay.sequence.after",
    "relay.publish.before",
    "relay.publish.sent",
    "relay.publish.after",
    "relay.mark.after",
];

const SWEEP: &[&str] = &["sweep.commit.before", "sweep.commit.after"];

/// No job comes by them yet.
const UNUSED: &[&str] = &["store.stat.before", "store.stat.after"];

/// So many at once: two cores wait for leases most of the time.
const TOGETHER: usize = 6;

#[test]
fn every_failpoint_has_its_kill() {
    let mut here: BTreeSet<&str> = BACKUP.iter().map(|(name, _)| *name).collect();
    here.extend([FAILING, RESTORE, LEFTOVER, RELAY, SWEEP, UNUSED].concat());
    here.extend(
        super::ELSEWHERE.iter().flat_map(|(prefix, _)| NAMES.iter().filter(move |name| name.starts_with(prefix))),
    );
    let listed: BTreeSet<&str> = NAMES.iter().copied().collect();
    assert_eq!(here, listed, "a failpoint at which nobody is killed, or a kill at none");
}

/// Each point's name and passage were really died at.
fn died_at(app: &App, names: &[&str]) {
    let passed = passed(app);
    for name in names {
        assert!(passed.contains(&format!("{name} kill")), "nobody died at {name}: {passed:?}");
    }
}

#[tokio::test]
async fn a_backup_that_dies_anywhere_is_made_by_the_next_worker() {
    let source = source().await;
    let mut app = App::spawn().await;
    let mut cases = Vec::new();
    for (name, passages) in BACKUP {
        for passage in *passages {
            let group = format!("g{}", cases.len());
            let target = target(&mut app, &source, &group, &["disk", "grid"]).await;
            cases.push((format!("{name}=kill:{passage}"), group, target));
        }
    }
    let app = &app;
    stream::iter(&cases)
        .for_each_concurrent(TOGETHER, |(script, group, target)| async move {
            let job = app.backup(target).await;
            let mut first = app.worker_starting(&spec(app, &format!("{group}-a"), group, script));
            killed(&mut first, script).await;
            let state: String = app.value(&format!("SELECT s.state FROM saves s WHERE s.job_id = '{job}'")).await;
            // Nobody may take a save for made before its record is.
            let made = script.starts_with("finish.commit.after");
            assert_eq!(state, if made { "available" } else { "pending" }, "{script}");
            let _second = app.worker_with(&spec(app, &format!("{group}-b"), group, "")).await;
            let done = app.client.job_is(&job, "succeeded").await;
            let attempts = if made || script.starts_with("claim.commit.before") { 1 } else { 2 };
            assert_eq!(done["attempt"], attempts, "{script}: {done:#}");
        })
        .await;
    died_at(app, &BACKUP.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    app.holds().await;
    remove_grid(app).await;
}

#[tokio::test]
async fn a_failed_backup_that_dies_while_it_tidies_up_leaves_what_rows_name() {
    // The backup role may not read past the policy: the dump fails after its first tables have gone out.
    let source = Database::create(
        "CREATE TABLE a AS SELECT n, md5(n::text) AS text FROM generate_series(1, 5000) n;
         CREATE TABLE z (id int); INSERT INTO z VALUES (1);
         ALTER TABLE z ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY nobody ON z USING (false)",
    )
    .await;
    let mut app = App::spawn().await;
    let mut cases = Vec::new();
    for (n, name) in FAILING.iter().enumerate() {
        let group = format!("g{n}");
        let target = target(&mut app, &source, &group, &["disk", "grid"]).await;
        cases.push((format!("{name}=kill"), group, target));
    }
    let app = &app;
    stream::iter(&cases)
        .for_each_concurrent(TOGETHER, |(script, group, target)| async move {
            let job = app.backup(target).await;
            let mut first = app.worker_starting(&spec(app, &format!("{group}-a"), group, script));
            killed(&mut first, script).await;
            let _second = app.worker_with(&spec(app, &format!("{group}-b"), group, "")).await;
            app.client.job_is(&job, "failed").await;
            let state: String = app.value(&format!("SELECT state FROM saves WHERE job_id = '{job}'")).await;
            assert_eq!(state, "failed", "{script}");
        })
        .await;
    died_at(app, FAILING);
    app.holds().await;
    remove_grid(app).await;
}

#[tokio::test]
async fn a_restore_that_dies_anywhere_is_finished_by_the_next_worker() {
    let source = source().await;
    let mut app = App::spawn().await;
    let mut cases = Vec::new();
    for (n, name) in RESTORE.iter().chain(LEFTOVER).enumerate() {
        let group = format!("g{n}");
        cases.push((*name, target(&mut app, &source, &group, &["disk"]).await, group));
    }
    // One worker makes all the saves.
    let everybody = cases.iter().map(|(.., group)| group.clone()).collect();
    let mut maker =
        app.worker_with(&support::WorkerSpec { slots: 2, groups: everybody, ..spec(&app, "maker", "", "") }).await;
    let mut saves = Vec::new();
    for (_, target, _) in &cases {
        saves.push(app.backup(target).await);
    }
    for save in &mut saves {
        *save = app.client.job_is(save, "succeeded").await["save_id"].as_str().unwrap().to_owned();
    }
    maker.stop().await;
    let before = digest::Digest::of(&source.name).await;
    let (app, name_of_source) = (&app, source.name.as_str());
    stream::iter(cases.iter().zip(&saves))
        .for_each_concurrent(TOGETHER, |((point, _, group), save)| async move {
            let restored = Database { name: stack::fresh("new") };
            let job = app.restore(save, &restored.name).await;
            // What is to be left for the next attempt has to be left first.
            let scripts: Vec<String> = if LEFTOVER.contains(point) {
                vec!["restore.tool.started=kill".to_owned(), format!("{point}=kill")]
            } else {
                vec![format!("{point}=kill")]
            };
            for (n, script) in scripts.iter().enumerate() {
                let mut worker = app.worker_starting(&spec(app, &format!("{group}-{n}"), group, script));
                killed(&mut worker, script).await;
                let named = database::exists(&restored.name).await;
                assert_eq!(
                    named,
                    *point == "restore.publish.after",
                    "{point}: the wanted name shows what is not whole"
                );
            }
            let _last = app.worker_with(&spec(app, &format!("{group}-z"), group, "")).await;
            app.client.job_is(&job, "succeeded").await;
            same_rows(name_of_source, &restored.name).await;
            assert_eq!(digest::named(&job.replace('-', "")).await, Vec::<String>::new(), "{point}");
            restored.remove().await;
        })
        .await;
    died_at(app, &[RESTORE, LEFTOVER].concat());
    assert_eq!(digest::Digest::of(&source.name).await, before, "a restore changed its save's source");
    app.holds().await;
}

#[tokio::test]
async fn a_relay_that_dies_anywhere_loses_no_event() {
    let source = source().await;
    let mut app = App::spawn().await;
    let listener = Listener::open().await;
    let target = target(&mut app, &source, "later", &["disk"]).await;
    let mut jobs = Vec::new();
    let publishing = |mut spec: support::WorkerSpec| {
        spec.exchange = Some(listener.exchange.clone());
        spec
    };
    for (n, point) in RELAY.iter().enumerate() {
        jobs.push(app.backup(&target).await);
        // It runs no job: it is there to relay.
        let script = format!("{point}=kill");
        let mut relay = app.worker_starting(&publishing(spec(&app, &format!("relay-{n}"), "nobody", &script)));
        killed(&mut relay, point).await;
    }
    let _worker = app.worker_with(&publishing(spec(&app, "last", "later", ""))).await;
    for job in &jobs {
        app.client.job_is(job, "succeeded").await;
    }
    died_at(&app, RELAY);
    let heard = events::check(&app, &listener).await;
    assert!(heard.broken.is_empty(), "{:#?}", heard.broken);
    // Died between the broker's word and the row: told twice, as promised.
    assert!(heard.doubles > 0, "{heard:?}");
    app.holds().await;
    listener.close().await;
}

#[tokio::test]
async fn a_sweeper_that_dies_leaves_its_work_to_the_next() {
    let source = source().await;
    let mut app = App::spawn().await;
    let target = target(&mut app, &source, "work", &["disk"]).await;
    let job = app.backup(&target).await;
    let mut first = app.worker_starting(&spec(&app, "first", "work", "backup.exited=kill"));
    killed(&mut first, "backup.exited").await;
    for point in SWEEP {
        // The lease that ran out is what there is to sweep; after the second the job is queued again.
        let mut sweeper =
            app.worker_starting(&spec(&app, &point.replace('.', "-"), "nobody", &format!("{point}=kill")));
        killed(&mut sweeper, point).await;
    }
    died_at(&app, SWEEP);
    until("the lease is taken away", || async {
        let state: String = app.value(&format!("SELECT state FROM jobs WHERE id = '{job}'")).await;
        (state == "queued").then_some(())
    })
    .await;
    let _last = app.worker_with(&spec(&app, "last", "work", "")).await;
    app.client.job_is(&job, "succeeded").await;
    app.holds().await;
}
