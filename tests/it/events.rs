//! Events with a real broker: every fact arrives, in order, whatever happens to relays, broker and network between
//! (design §9, guarantees E).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use support::{
    App, Database, Proxy, WorkerSpec,
    events::{Delivery, Subscription},
    stack, until,
};

fn publishing(name: &str, exchange: &str) -> WorkerSpec {
    WorkerSpec { exchange: Some(exchange.to_owned()), ..WorkerSpec::named(name) }
}

/// Waits until the relay has published all that there is; the events by seq, as (id, type, aggregate).
async fn all_published(app: &App) -> Vec<(String, String, String)> {
    until("everything is published", || async {
        let open: i64 = app.value("SELECT count(*) FROM outbox WHERE published_at IS NULL").await;
        (open == 0).then_some(())
    })
    .await;
    let lines: Vec<String> = app.values("SELECT id || ' ' || type || ' ' || aggregate FROM outbox ORDER BY seq").await;
    let gaps: i64 = app.value("SELECT count(*) - max(seq) FROM outbox").await;
    assert_eq!(gaps, 0, "seq has gaps");
    let words = |line: &String| {
        let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        (words[0].clone(), words[1].clone(), words[2].clone())
    };
    lines.iter().map(words).collect()
}

/// What arrived is what was written, each fact at least once and its own story in order. Gives the number of doubles.
async fn arrived(subscription: &mut Subscription, facts: &[(String, String, String)]) -> usize {
    let mut missing: BTreeSet<&str> = facts.iter().map(|(id, ..)| id.as_str()).collect();
    let aggregates: BTreeMap<&str, &str> = facts.iter().map(|(id, _, of)| (id.as_str(), of.as_str())).collect();
    let (mut last, mut doubles) = (BTreeMap::new(), 0);
    while !missing.is_empty() {
        let event = subscription.next().await;
        if !missing.remove(event.message_id.as_str()) {
            doubles += 1;
            continue;
        }
        let seq = event.body["seq"].as_i64().unwrap_or_else(|| panic!("no seq: {:#}", event.body));
        let of = aggregates[event.message_id.as_str()].to_owned();
        if let Some(before) = last.insert(of.clone(), seq) {
            assert!(before < seq, "{of}: {seq} came after {before}");
        }
    }
    doubles
}

#[tokio::test]
async fn a_consumer_hears_the_story_of_a_backup_in_order() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let exchange = stack::fresh("events");
    let mut subscription = Subscription::open(&exchange, "#").await;
    let _worker = app.worker_with(&publishing("a", &exchange)).await;
    let job = app.backup(&target).await;
    app.client.job_is(&job, "succeeded").await;
    let mut seen: Vec<Delivery> = subscription.until(|e| e.routing_key == "save.completed").await;
    let has_end = |seen: &[Delivery]| seen.iter().any(|e| e.routing_key == "job.succeeded");
    if !has_end(&seen) {
        seen.extend(subscription.until(|e| e.routing_key == "job.succeeded").await);
    }
    let of_job: Vec<&str> =
        seen.iter().filter(|e| e.body["subject"] == format!("jobs/{job}")).map(|e| e.routing_key.as_str()).collect();
    assert_eq!(of_job, ["job.queued", "job.started", "job.succeeded"]);
    for event in &seen {
        assert_eq!(event.delivery_mode, 2, "persistent");
        assert_eq!(event.content_type, "application/cloudevents+json");
        assert_eq!(event.body["specversion"], "1.0");
        assert_eq!(event.body["id"], event.message_id);
        assert_eq!(event.body["type"], event.routing_key);
        assert!(event.body["source"].as_str().is_some_and(|s| !s.is_empty()), "{:#}", event.body);
        assert!(event.body["time"].is_string() && event.body["data"].is_object(), "{:#}", event.body);
    }
    // The same facts, by HTTP, for whoever has no broker.
    let listed = app.client.get("/v1/events?after=0&limit=100").await.expect(200);
    for event in &seen {
        assert!(
            listed.as_array().unwrap().iter().any(|e| e["id"] == event.body["id"] && e["seq"] == event.body["seq"])
        );
    }
    app.holds().await;
    subscription.close().await;
}

#[tokio::test]
async fn what_nobody_is_bound_for_is_parked() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let exchange = stack::fresh("events");
    let mut saves = Subscription::open(&exchange, "save.*").await;
    let _worker = app.worker_with(&publishing("a", &exchange)).await;
    let job = app.backup(&target).await;
    app.client.job_is(&job, "succeeded").await;
    let facts = all_published(&app).await;
    let mut parked = Subscription::unrouted(&exchange).await;
    let (of_saves, others): (Vec<_>, Vec<_>) = facts.into_iter().partition(|(_, kind, _)| kind.starts_with("save."));
    assert!(!of_saves.is_empty() && !others.is_empty());
    arrived(&mut saves, &of_saves).await;
    arrived(&mut parked, &others).await;
    app.holds().await;
    saves.close().await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_delays_events_and_nothing_else() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let exchange = stack::fresh("events");
    let mut subscription = Subscription::open(&exchange, "#").await;
    let (proxy, through) = Proxy::before(&stack::setting("RABBIT_URL")).await;
    proxy.cut();
    let spec = WorkerSpec { rabbit_url: Some(through), ..publishing("a", &exchange) };
    let _worker = app.worker_with(&spec).await;
    for _ in 0..5 {
        let job = app.backup(&target).await;
        app.client.job_is(&job, "succeeded").await;
    }
    until("the history goes on without the broker", || async {
        let unplaced: i64 = app.value("SELECT count(*) FROM outbox WHERE seq IS NULL").await;
        (unplaced == 0).then_some(())
    })
    .await;
    let published: i64 = app.value("SELECT count(*) FROM outbox WHERE published_at IS NOT NULL").await;
    assert_eq!(published, 0, "nothing can have been published");
    let why: i64 = app.value("SELECT count(*) FROM outbox WHERE last_error IS NOT NULL").await;
    assert!(why > 0, "the rows say why they wait");
    proxy.heal();
    let facts = all_published(&app).await;
    arrived(&mut subscription, &facts).await;
    app.holds().await;
    subscription.close().await;
}

#[tokio::test]
async fn lost_confirms_double_events_but_lose_and_reorder_none() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let exchange = stack::fresh("events");
    let mut subscription = Subscription::open(&exchange, "#").await;
    let (proxy, through) = Proxy::before(&stack::setting("RABBIT_URL")).await;
    let spec = WorkerSpec { rabbit_url: Some(through), ..publishing("a", &exchange) };
    let _worker = app.worker_with(&spec).await;
    for round in 0..6 {
        let job = app.backup(&target).await;
        // Cut at another moment of each job's life.
        if round % 2 == 0 {
            app.client.job_is(&job, "running").await;
        }
        proxy.cut();
        app.client.job_is(&job, "succeeded").await;
        proxy.heal();
    }
    let facts = all_published(&app).await;
    arrived(&mut subscription, &facts).await;
    app.holds().await;
    subscription.close().await;
}

#[tokio::test]
async fn when_the_active_relay_is_killed_another_goes_on_without_a_gap() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let exchange = stack::fresh("events");
    let mut subscription = Subscription::open(&exchange, "#").await;
    let mut active = app.worker_with(&publishing("a", &exchange)).await;
    active.says("this worker's relay is the active one").await;
    let mut standby = app.worker_with(&publishing("b", &exchange)).await;
    for _ in 0..3 {
        let job = app.backup(&target).await;
        app.client.job_is(&job, "succeeded").await;
    }
    assert!(!standby.log().contains("relay is the active one"), "one relay at a time");
    let last = app.backup(&target).await;
    active.kill9().await;
    app.client.job_is(&last, "succeeded").await;
    standby.says("this worker's relay is the active one").await;
    let facts = all_published(&app).await;
    arrived(&mut subscription, &facts).await;
    app.holds().await;
    subscription.close().await;
}

#[tokio::test]
async fn a_queue_deleted_under_the_relay_is_declared_anew_and_loses_nothing() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let exchange = stack::fresh("events");
    let _worker = app.worker_with(&publishing("a", &exchange)).await;
    let first = app.backup(&target).await;
    app.client.job_is(&first, "succeeded").await;
    all_published(&app).await;
    // What was parked so far goes with the queue; nobody wanted it.
    let before: i64 = app.value("SELECT max(seq) FROM outbox").await;
    let parked = Subscription::unrouted(&exchange).await;
    parked.delete_queue().await;

    let second = app.backup(&target).await;
    app.client.job_is(&second, "succeeded").await;
    let facts = all_published(&app).await;
    let again: i64 = app.value(&format!("SELECT count(*) FROM outbox WHERE seq > {before} AND attempts > 1")).await;
    assert!(again > 0, "an event that no queue took counts as not published");
    let mut parked = Subscription::unrouted(&exchange).await;
    arrived(&mut parked, &facts[usize::try_from(before).unwrap()..]).await;
    app.holds().await;
    parked.close().await;
}

#[tokio::test]
async fn events_survive_a_restart_of_the_broker_and_wait_while_it_is_short_of_memory() {
    let _alone = stack::alone().await;
    let database = Database::small().await;
    let mut app = App::spawn_alone().await;
    let target = app.target(&database).await;
    let exchange = stack::fresh("events");
    let queue = Subscription::open(&exchange, "#").await.leave().await;
    let _worker = app.worker_with(&publishing("a", &exchange)).await;
    let before = app.backup(&target).await;
    app.client.job_is(&before, "succeeded").await;
    all_published(&app).await;

    stack::act("restart", "rabbit").await;
    let after = app.backup(&target).await;
    app.client.job_is(&after, "succeeded").await;
    all_published(&app).await;

    stack::act("alarm", "rabbit").await;
    let blocked = app.backup(&target).await;
    app.client.job_is(&blocked, "succeeded").await;
    until("the relay has noticed", || async {
        let why: i64 =
            app.value("SELECT count(*) FROM outbox WHERE published_at IS NULL AND last_error IS NOT NULL").await;
        (why > 0).then_some(())
    })
    .await;
    let attempts: i32 = app.value("SELECT coalesce(max(attempts), 0) FROM outbox WHERE published_at IS NULL").await;
    stack::act("calm", "rabbit").await;
    assert!(attempts < 20, "{attempts} attempts: a blocked broker is asked again and again without a pause");

    let facts = all_published(&app).await;
    let mut subscription = Subscription::resume(&exchange, &queue).await;
    arrived(&mut subscription, &facts).await;
    app.holds().await;
    subscription.close().await;
}

#[tokio::test]
async fn the_exchange_is_there_before_the_first_event() {
    let app = App::spawn().await;
    let exchange = stack::fresh("events");
    let _worker = app.worker_with(&publishing("a", &exchange)).await;
    until("a consumer could bind", || async { Subscription::exchange_exists(&exchange).await.then_some(()) }).await;
    let facts: i64 = app.value("SELECT count(*) FROM outbox").await;
    assert_eq!(facts, 0);
    Subscription::open(&exchange, "#").await.close().await;
}

#[tokio::test]
async fn a_broker_is_spoken_to_by_tls_and_only_if_the_named_authority_vouches_for_it() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let exchange = stack::fresh("events");
    let mut subscription = Subscription::open(&exchange, "#").await;
    let trusting = |name: &str, ca: &str| WorkerSpec {
        rabbit_url: Some(stack::setting("RABBIT_TLS_URL")),
        envs: vec![("HOLDFAST__EVENTS__CA_FILE".to_owned(), stack::setting(ca))],
        ..publishing(name, &exchange)
    };
    let mut wrong = app.worker_with(&trusting("a", "TARGET_WRONG_CA")).await;
    let job = app.backup(&target).await;
    app.client.job_is(&job, "succeeded").await;
    until("the rows say why they wait", || async {
        let why: i64 = app.value("SELECT count(*) FROM outbox WHERE last_error IS NOT NULL").await;
        (why > 0).then_some(())
    })
    .await;
    let published: i64 = app.value("SELECT count(*) FROM outbox WHERE published_at IS NOT NULL").await;
    assert_eq!(published, 0);
    assert!(wrong.stop().await.success());
    let _right = app.worker_with(&trusting("b", "TARGET_CA")).await;
    let facts = all_published(&app).await;
    arrived(&mut subscription, &facts).await;
    app.holds().await;
    subscription.close().await;
}

#[tokio::test]
async fn without_a_broker_the_history_is_kept_and_readable() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker("a").await;
    let job = app.backup(&target).await;
    app.client.job_is(&job, "succeeded").await;
    let listed = until("the end of the job has its place", || async {
        let listed = app.client.get("/v1/events?after=0&limit=100").await.expect(200);
        let ended =
            |e: &serde_json::Value| e["type"] == "job.succeeded" && e["subject"] == json!(format!("jobs/{job}"));
        listed.as_array().unwrap().iter().any(ended).then_some(listed)
    })
    .await;
    let seqs: Vec<i64> = listed.as_array().unwrap().iter().map(|e| e["seq"].as_i64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    app.holds().await;
}
