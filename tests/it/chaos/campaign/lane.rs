//! One installation under load: two workers that die and come back, jobs that keep coming, and the check when all is quiet.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use support::{
    App, Client, Digest, Listener, Owned, Process, TargetSpec, WorkerSpec, database,
    digest::{self, auction},
    invariants::{self, events, remove_grid},
    stack, until,
};
use tokio::time::{Instant, sleep};

use super::{Line, Rng, spy::Spy};
use crate::chaos::bench::spec;

/// Short enough for a campaign, long enough to outlive a busy machine's pauses between two beats.
pub(super) const LEASE: Duration = Duration::from_secs(3);

/// Every job is over within this time once nobody is killed any more.
const QUIET: Duration = Duration::from_mins(3);

/// A database that saves are made of, and what it is.
struct Source {
    owned: Owned,
    digest: Digest,
}

/// A restore that was asked for.
struct Restored {
    job: String,
    database: String,
    source: usize,
}

pub(super) struct Lane {
    pub(super) app: App,
    pub(super) workers: Vec<Process>,
    pub(super) rng: Rng,
    pub(super) spy: Spy,
    listener: Listener,
    sources: Vec<Source>,
    /// Target and the place of its source.
    targets: Vec<(String, usize)>,
    restores: Vec<Restored>,
    started: usize,
}

impl Lane {
    pub(super) async fn start(seed: u64) -> Self {
        let mut app = App::spawn_for_hours().await;
        let listener = Listener::open().await;
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        for (n, stores) in [json!(["disk"]), json!(["grid"]), json!(["disk", "grid"])].into_iter().enumerate() {
            let rows = [200, 6000, 600][n];
            let owned = Owned::create(&auction(u32::try_from(seed % 1000).unwrap(), rows)).await;
            let name = &owned.database.name;
            let server = json!({ "max_jobs": 8 });
            let spec = TargetSpec { server, target: json!({ "stores": stores }), ..TargetSpec::of(name) };
            targets.push((app.target_with(&spec).await, n));
            sources.push(Source { digest: Digest::of(name).await, owned });
        }
        let spy = Spy::start(&app);
        let rng = Rng::new(seed);
        let mut lane =
            Self { app, workers: Vec::new(), rng, spy, listener, sources, targets, restores: Vec::new(), started: 0 };
        for _ in 0..2 {
            let mut worker = lane.next_worker();
            worker.says("worker started").await;
            lane.workers.push(worker);
        }
        lane
    }

    fn next_worker(&mut self) -> Process {
        self.started += 1;
        let mut spec = spec(&self.app, &format!("w{}", self.started), "default", "");
        // Longer than a frozen worker sleeps, so that nothing is collected which it might go on writing.
        spec.envs.push(("HOLDFAST__GC__GRACE_S".to_owned(), "20".to_owned()));
        let exchange = Some(self.listener.exchange.clone());
        self.app.worker_starting(&WorkerSpec { slots: 2, exchange, lease_s: LEASE.as_secs_f64(), ..spec })
    }

    /// Another one in its place; nobody waits for it.
    pub(super) fn replace(&mut self, which: usize) {
        self.workers[which] = self.next_worker();
    }

    /// Kind and phase of a job that runs on this worker.
    pub(super) async fn doing(&self, which: usize) -> Option<String> {
        let sql = format!(
            "SELECT kind || ', ' || coalesce(phase, 'claimed') FROM jobs WHERE state = 'running'
             AND lease_owner LIKE '{}/%' ORDER BY started_at DESC LIMIT 1",
            self.workers[which].name.trim_start_matches("worker-")
        );
        self.app.values::<String>(&sql).await.into_iter().next()
    }

    /// Asks until there is enough to do for two workers.
    pub(super) async fn top_up(&mut self) {
        loop {
            let open: i64 = self.app.value("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')").await;
            if open >= 5 {
                return;
            }
            self.ask().await;
        }
    }

    async fn ask(&mut self) {
        let saves: Vec<Value> = self
            .app
            .values("SELECT jsonb_build_object('save', id, 'target', target_id) FROM saves WHERE state = 'available' ORDER BY id DESC LIMIT 20")
            .await;
        let dice = self.rng.below(100);
        if saves.is_empty() || dice < 40 {
            let n = self.rng.below(self.targets.len());
            self.app.backup(&self.targets[n].0).await;
            return;
        }
        let save = &saves[self.rng.below(saves.len())];
        let id = save["save"].as_str().unwrap();
        match dice {
            40..60 => {
                let source = self.source_of(save);
                // What was saved is what is there: it must be the same after every such restore, finished or not.
                let into = &self.sources[source].owned.database.name;
                let body =
                    json!({ "into": {}, "confirm": into, "safety": self.rng.below(3) == 0, "keep_old_hours": 1 });
                self.app.client.post(&format!("/v1/saves/{id}/restore"), body).await.id();
            }
            60..75 => {
                let database = stack::fresh("new");
                let job = self.app.restore(id, &database).await;
                self.restores.push(Restored { job, database, source: self.source_of(save) });
            }
            75..85 => self.ask_for_undo().await,
            85..93 if saves.len() > 3 => {
                let answer = self.app.client.delete(&format!("/v1/saves/{id}")).await;
                // While a job reads or is about to read it, it stays.
                assert!([202, 409].contains(&answer.status.as_u16()), "{}", answer.text);
            }
            _ => {
                self.app.client.post("/v1/gc", json!({ "dry_run": false })).await.expect(202);
            }
        }
    }

    /// Of what restores have put aside and nobody swaps back already. It is what was there, as everything is.
    async fn ask_for_undo(&mut self) {
        let sql = "SELECT jsonb_build_object('job', k.job_id, 'database', k.database) FROM kept_databases k JOIN jobs r ON r.id = k.job_id
            WHERE k.state = 'kept' AND r.state = 'succeeded' AND NOT EXISTS (SELECT FROM jobs u WHERE u.kind = 'undo'
              AND u.state IN ('queued', 'running') AND u.payload->>'kept_id' = k.id::text) ORDER BY k.id DESC LIMIT 5";
        let kept: Vec<Value> = self.app.values(sql).await;
        if kept.is_empty() {
            return;
        }
        let kept = &kept[self.rng.below(kept.len())];
        let body = json!({ "confirm": kept["database"], "keep_old_hours": 1 });
        let answer = self.app.client.post(&format!("/v1/jobs/{}/undo", kept["job"].as_str().unwrap()), body).await;
        // The one that was about to swap it back may have ended in between.
        assert!([202, 409].contains(&answer.status.as_u16()), "{}", answer.text);
    }

    fn source_of(&self, save: &Value) -> usize {
        self.targets.iter().find(|(target, _)| save["target"] == *target.as_str()).unwrap().1
    }

    /// Waits until every job is over, and looks at everything. Broken promises go to the line.
    pub(super) async fn settle(&mut self, line: &mut Line) {
        for n in 0..self.workers.len() {
            if self.workers[n].has_ended() {
                self.replace(n);
            }
        }
        let began = Instant::now();
        loop {
            let open: i64 = self.app.value("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')").await;
            if open == 0 {
                break;
            }
            if began.elapsed() > QUIET {
                let stuck: Vec<Value> =
                    self.app.values("SELECT to_jsonb(j) FROM jobs j WHERE state IN ('queued', 'running')").await;
                line.violations.extend(stuck.iter().map(|job| format!("a job is not over: {job}")));
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        line.slowest_s = line.slowest_s.max(began.elapsed().as_secs_f64());
        self.compare_restores(line).await;
        line.violations.extend(invariants::broken(&self.app).await);
        let heard = events::check(&self.app, &self.listener).await;
        line.violations.extend(heard.broken);
        line.events += heard.events;
        line.doubles += heard.doubles;
        for delivery in self.listener.heard() {
            self.spy.look("an event", &delivery.body.to_string());
        }
        self.look_at_answers().await;
        line.violations.extend(self.spy.found());
    }

    /// What the API and the workers' health ports say, of what there is and of what there is not.
    async fn look_at_answers(&self) {
        for path in
            ["jobs?limit=100", "saves?limit=100", "credentials", "targets", "servers", "events?limit=100", "jobs/x"]
        {
            let answer = self.app.client.get(&format!("/v1/{path}")).await;
            self.spy.look("an answer of the API", &answer.text);
        }
        for worker in &self.workers {
            let log = worker.log();
            let mut started = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let port = started.find_map(|line| line["port"].as_str().map(ToOwned::to_owned));
            if let Some(port) = port {
                let answer = Client::new(format!("http://{port}")).get("/readyz").await;
                self.spy.look("a health port", &answer.text);
            }
        }
    }

    /// A database with the wanted name is whole, or there is none.
    async fn compare_restores(&mut self, line: &mut Line) {
        for restored in std::mem::take(&mut self.restores) {
            let job = self.app.client.job(&restored.job).await;
            self.spy.look("a job's answer", &job.to_string());
            let there = database::exists(&restored.database).await;
            let succeeded = job["state"] == "succeeded";
            // Named and then killed for the last time: it is whole all the same, and its job could not say so.
            let died = job["error"]["code"] == "lease_expired";
            if there != succeeded && !(there && died) {
                line.violations.push(format!("database {} {there}: {job}", restored.database));
            }
            if there {
                let (now, then) = (Digest::of(&restored.database).await, &self.sources[restored.source].digest);
                if (&now.rows, &now.sequences) != (&then.rows, &then.sequences) {
                    line.violations.push(format!("{} of {} is not what was saved", restored.database, restored.job));
                }
                database::remove(&restored.database).await;
            }
        }
    }

    /// The end: sources unchanged, figures to the line, everything taken away.
    pub(super) async fn finish(mut self, line: &mut Line) {
        self.settle(line).await;
        for source in self.sources {
            let name = &source.owned.database.name;
            let now = Digest::of(name).await;
            if now != source.digest {
                line.violations.push(format!("{name} was changed: {now:?}, not {:?}", source.digest));
            }
            remove_asides(name).await;
        }
        let ended: Vec<Value> = self
            .app
            .values(
                "SELECT jsonb_build_object('what', kind || ' ' || state || coalesce(': ' || (CASE WHEN state = 'succeeded' THEN NULL ELSE error->>'code' END), ''),
                   'code', error->>'code', 'state', state, 'jobs', count(*), 'epochs', sum(epoch))
                 FROM jobs GROUP BY kind, state, error->>'code'",
            )
            .await;
        for row in &ended {
            let jobs = row["jobs"].as_u64().unwrap();
            line.jobs += jobs;
            line.epochs += row["epochs"].as_u64().unwrap();
            line.ended(row["what"].as_str().unwrap(), jobs);
            // With every attempt killed a job may fail; for any other reason none may.
            let may_fail = ["lease_expired", "swap_not_done"].contains(&row["code"].as_str().unwrap_or_default());
            if row["state"] != "succeeded" && !may_fail {
                line.violations.push(format!("jobs ended otherwise: {row}"));
            }
        }
        if !line.violations.is_empty() {
            // For whoever looks into it.
            keep_logs(&self.app);
        }
        remove_grid(&self.app).await;
        self.listener.close().await;
    }

    /// Waits a moment for this worker to have something to do.
    pub(super) async fn busy(&self, which: usize) {
        let began = Instant::now();
        until("the worker has a job, or it is idle", || async {
            (self.doing(which).await.is_some() || began.elapsed() > Duration::from_secs(5)).then_some(())
        })
        .await;
    }
}

/// Drops what restores in place have put aside of a database; a name that is too long is cut at its end.
pub(super) async fn remove_asides(name: &str) {
    let front = &name[..name.len().min(18)];
    for aside in digest::named("__hf_").await {
        if aside.starts_with(front) {
            database::remove(&aside).await;
        }
    }
}

/// Copies the logs of an installation in which something was found to where they stay.
fn keep_logs(app: &App) {
    let kept = stack::root().join(".dev/chaos").join(&app.database);
    std::fs::create_dir_all(&kept).unwrap();
    for entry in std::fs::read_dir(app.dir.path()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|e| e == "log" || e == "txt") {
            std::fs::copy(entry.path(), kept.join(entry.file_name())).unwrap();
        }
    }
}

/// How often each thing happened.
pub(super) type Counts = BTreeMap<String, u64>;
