//! Restores that are killed, frozen or cancelled at each step: the next attempt goes on, and what is not ours stays.

use serde_json::json;
use support::{
    App, Database,
    database::{self, quoted},
    stack, until,
};

use super::{damage::databases_of, fails, one_attempt};

/// A source whose restore waits in the middle of its data until [`Gate::open`]: a check constraint looks for a role, which
/// every database of the server sees.
struct Gate {
    role: String,
}

impl Gate {
    async fn source() -> (Self, Database) {
        let gate = Self { role: stack::fresh("gate") };
        gate.open().await;
        let source = Database::create(&format!(
            "CREATE FUNCTION passed() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
               WHILE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{}') LOOP PERFORM pg_catalog.pg_sleep(0.02); END LOOP;
               RETURN true; END $$;
             CREATE TABLE gated (id int CHECK (public.passed()));
             INSERT INTO gated SELECT generate_series(1, 100)",
            gate.role
        ))
        .await;
        gate.close().await;
        (gate, source)
    }

    async fn open(&self) {
        database::run(&mut database::connect("postgres").await, &format!("CREATE ROLE {}", self.role)).await;
    }

    async fn close(&self) {
        database::run(&mut database::connect("postgres").await, &format!("DROP ROLE {}", self.role)).await;
    }
}

/// Waits until the restore of this job runs in a database of its own, at the gate. The database's name.
async fn at_the_gate(job: &str, but: &[String]) -> String {
    until("the restore is at the gate", || async {
        let waiting: Option<String> = sqlx::query_scalar(
            "SELECT datname::text FROM pg_stat_activity WHERE position($1 IN datname) > 0 AND query LIKE 'COPY public.gated%' AND state = 'active' AND NOT datname = ANY($2)",
        )
        .bind(format!("__hf_{}", job.replace('-', "")))
        .bind(but)
        .fetch_optional(&mut database::connect("postgres").await)
        .await
        .unwrap();
        waiting
    })
    .await
}

async fn saved(app: &mut App, source: &Database) -> String {
    let target = app.target(source).await;
    app.saved(&target).await
}

async fn is_whole(restored: &Database, job: &str) {
    assert_eq!(restored.text("SELECT count(*)::text FROM gated").await, "100");
    assert_eq!(databases_of(job).await, Vec::<String>::new(), "databases of the job's own are left");
}

#[tokio::test]
async fn a_worker_killed_while_it_restores_leaves_what_the_next_one_takes_away() {
    let mut app = App::spawn().await;
    let (gate, source) = Gate::source().await;
    let mut worker = app.worker("one").await;
    let save = saved(&mut app, &source).await;
    let restored = Database { name: stack::fresh("new") };
    let job = app.restore(&save, &restored.name).await;
    let first = at_the_gate(&job, &[]).await;
    assert!(!database::exists(&restored.name).await, "the wanted name shows what is not whole");
    worker.kill9().await;
    let _next = app.worker("two").await;
    at_the_gate(&job, &[first]).await;
    gate.open().await;
    app.client.job_is(&job, "succeeded").await;
    is_whole(&restored, &job).await;
    gate.close().await;
    app.holds().await;
}

#[tokio::test]
async fn a_worker_killed_between_the_last_step_and_the_record_has_done_it() {
    let mut app = App::spawn().await;
    let (gate, source) = Gate::source().await;
    gate.open().await;
    let mut worker = app.worker("one").await;
    let save = saved(&mut app, &source).await;
    // The record of the success waits for a lock that the test holds.
    app.execute(
        "CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.state = 'succeeded' THEN PERFORM pg_advisory_xact_lock(4711); END IF; RETURN NEW; END $$;
         CREATE TRIGGER wait_here BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION wait_here()",
    )
    .await;
    let mut holder = app.pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(4711)").execute(&mut *holder).await.unwrap();
    let restored = Database { name: stack::fresh("new") };
    let job = app.restore(&save, &restored.name).await;
    until("the database has its name", || async { database::exists(&restored.name).await.then_some(()) }).await;
    // Somebody uses it already.
    database::run(&mut restored.session().await, "CREATE TABLE mine (id int)").await;
    worker.kill9().await;
    sqlx::query("SELECT pg_advisory_unlock(4711)").execute(&mut *holder).await.unwrap();
    let _next = app.worker("two").await;
    let ended = app.client.job_is(&job, "succeeded").await;
    // Nothing was restored twice and nothing was taken away.
    assert_eq!(ended["attempt"], 2, "{ended:#}");
    assert_eq!(ended["result"]["adopted"], true, "{ended:#}");
    is_whole(&restored, &job).await;
    assert_eq!(restored.text("SELECT count(*)::text FROM mine").await, "0");
    gate.close().await;
    app.holds().await;
}

#[tokio::test]
async fn what_a_kill_left_before_the_mark_is_dropped_only_while_it_is_empty() {
    let mut app = App::spawn().await;
    let (gate, source) = Gate::source().await;
    gate.open().await;
    let mut worker = app.worker("one").await;
    let save = saved(&mut app, &source).await;
    worker.stop().await;
    let left = |wanted: &str, job: &str| format!("{}__hf_{}_0", &wanted[..wanted.len().min(24)], job.replace('-', ""));

    let empty = Database { name: stack::fresh("new") };
    let empty_job = app.restore(&save, &empty.name).await;
    let unmarked = Database::named(&left(&empty.name, &empty_job), "SELECT 1").await;
    let sql = format!("ALTER DATABASE {} OWNER TO restore_role", quoted(&unmarked.name));
    database::run(&mut database::connect("postgres").await, &sql).await;

    let wanted = stack::fresh("new");
    let used_job = app.restore(&save, &wanted).await;
    let used = Database::named(&left(&wanted, &used_job), "CREATE TABLE precious (id int)").await;

    let other = stack::fresh("new");
    let other_job = app.restore(&save, &other).await;
    let foreign = Database::named(&left(&other, &other_job), "SELECT 1").await;
    let mark = format!(
        "COMMENT ON DATABASE {} IS 'holdfast: being restored, installation {}, job {other_job}, epoch 0'",
        quoted(&foreign.name),
        uuid::Uuid::now_v7()
    );
    database::run(&mut database::connect("postgres").await, &mark).await;

    let _worker = app.worker("two").await;
    app.client.job_is(&empty_job, "succeeded").await;
    is_whole(&empty, &empty_job).await;
    for (job, stays) in [(used_job, &used), (other_job, &foreign)] {
        let error = fails(&app, &job, "database_exists", false).await;
        assert!(error["message"].as_str().unwrap().contains("stays"), "{error:#}");
        assert!(database::exists(&stays.name).await, "{} was dropped", stays.name);
    }
    gate.close().await;
    app.holds().await;
}

#[tokio::test]
async fn what_a_last_attempt_left_is_taken_away_by_the_next_restore() {
    let mut app = App::spawn().await;
    let (gate, source) = Gate::source().await;
    let mut worker = app.worker("one").await;
    let save = saved(&mut app, &source).await;
    let running = app.restore(&save, &stack::fresh("new")).await;
    let first = at_the_gate(&running, &[]).await;
    one_attempt(&app).await;
    let wanted = stack::fresh("new");
    let dead = app.restore(&save, &wanted).await;
    let left = at_the_gate(&dead, &[]).await;
    worker.kill9().await;
    let _next = app.worker("two").await;
    // The other job goes on; this one had no other attempt.
    let ended = app.client.job_until(&dead, "ended", |job| job["finished_at"].is_string()).await;
    assert_eq!(ended["state"], "failed", "{ended:#}");
    at_the_gate(&running, &[first]).await;
    let restored = Database { name: stack::fresh("new") };
    let next = app.restore(&save, &restored.name).await;
    at_the_gate(&next, &[]).await;
    assert!(!database::exists(&left).await, "{left} is still there");
    assert_eq!(databases_of(&running).await.len(), 1, "the database of a running job was taken away");
    gate.open().await;
    for job in [&running, &next] {
        app.client.job_is(job, "succeeded").await;
    }
    is_whole(&restored, &next).await;
    let other: String = app.value(&format!("SELECT payload->>'database' FROM jobs WHERE id = '{running}'")).await;
    drop(Database { name: other });
    gate.close().await;
    app.holds().await;
}

#[tokio::test]
async fn a_frozen_worker_that_wakes_up_harms_nothing() {
    let mut app = App::spawn().await;
    let (gate, source) = Gate::source().await;
    let first = app.worker("one").await;
    let save = saved(&mut app, &source).await;
    let restored = Database { name: stack::fresh("new") };
    let job = app.restore(&save, &restored.name).await;
    let left = at_the_gate(&job, &[]).await;
    first.freeze();
    let _next = app.worker("two").await;
    at_the_gate(&job, &[left]).await;
    gate.open().await;
    app.client.job_is(&job, "succeeded").await;
    first.thaw();
    until("the first worker has noticed", || async { first.log().contains("the lease was lost").then_some(()) }).await;
    is_whole(&restored, &job).await;
    gate.close().await;
    app.holds().await;
}

#[tokio::test]
async fn a_cancelled_restore_leaves_nothing() {
    let mut app = App::spawn().await;
    let (_gate, source) = Gate::source().await;
    let _worker = app.worker("one").await;
    let save = saved(&mut app, &source).await;
    let wanted = stack::fresh("new");
    let job = app.restore(&save, &wanted).await;
    at_the_gate(&job, &[]).await;
    app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    app.client.job_is(&job, "cancelled").await;
    assert!(!database::exists(&wanted).await);
    assert_eq!(databases_of(&job).await, Vec::<String>::new());
    app.holds().await;
}

#[tokio::test]
async fn a_name_that_is_taken_before_or_meanwhile_stays_its_owners() {
    let mut app = App::spawn().await;
    let (gate, source) = Gate::source().await;
    let _worker = app.worker("one").await;
    one_attempt(&app).await;
    let save = saved(&mut app, &source).await;
    let before = Database::create("CREATE TABLE precious (id int)").await;
    let job = app.restore(&save, &before.name).await;
    let error = fails(&app, &job, "database_exists", false).await;
    assert!(error["message"].as_str().unwrap().contains(&before.name), "{error:#}");
    assert_eq!(before.text("SELECT count(*)::text FROM precious").await, "0");

    let name = stack::fresh("new");
    let job = app.restore(&save, &name).await;
    at_the_gate(&job, &[]).await;
    let meanwhile = Database::named(&name, "CREATE TABLE precious (id int)").await;
    gate.open().await;
    fails(&app, &job, "database_exists", false).await;
    assert_eq!(meanwhile.text("SELECT count(*)::text FROM precious").await, "0");
    assert_eq!(databases_of(&job).await, Vec::<String>::new());
    gate.close().await;
    app.holds().await;
}
