//! What a consumer that listened from the first event on has heard, against the outbox.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::{app::App, events::Listener, wait::until};

/// What it found.
#[derive(Debug, Default)]
pub struct Heard {
    pub events: usize,
    /// Deliveries of an event that had arrived before; each the very same.
    pub doubles: usize,
    /// Broken promises, in words.
    pub broken: Vec<String>,
}

/// Waits until everything is published and has arrived, and compares. A relay must run.
pub async fn check(app: &App, listener: &Listener) -> Heard {
    until("everything is published", || async {
        let open: i64 = app.value("SELECT count(*) FROM outbox WHERE published_at IS NULL OR seq IS NULL").await;
        (open == 0).then_some(())
    })
    .await;
    let rows: Vec<String> =
        app.values("SELECT id || ' ' || seq || ' ' || type || ' ' || aggregate FROM outbox ORDER BY seq").await;
    let mut facts = BTreeMap::new();
    for row in &rows {
        let words: Vec<&str> = row.split(' ').collect();
        facts.insert(words[0], (words[1].parse::<i64>().unwrap(), words[2], words[3]));
    }
    let missing = || {
        let heard = listener.heard();
        facts.keys().filter(|id| !heard.iter().any(|d| d.message_id == **id)).count()
    };
    let began = tokio::time::Instant::now();
    while missing() > 0 && began.elapsed() < crate::wait::PATIENCE {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut found = Heard { events: facts.len(), ..Heard::default() };
    let mut bodies = BTreeMap::new();
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for delivery in listener.heard() {
        let Some((seq, kind, aggregate)) = facts.get(delivery.message_id.as_str()) else {
            found.broken.push(format!("an event arrived that no row holds: {}", delivery.body));
            continue;
        };
        match bodies.entry(delivery.message_id.clone()) {
            Entry::Occupied(before) => {
                found.doubles += 1;
                if *before.get() != delivery.body {
                    found.broken.push(format!("a double differs: {} and {}", before.get(), delivery.body));
                }
                continue;
            }
            Entry::Vacant(place) => drop(place.insert(delivery.body.clone())),
        }
        if delivery.routing_key != *kind || delivery.body["seq"] != *seq || delivery.delivery_mode != 2 {
            found.broken.push(format!("event {seq} of type {kind} arrived as {delivery:?}"));
        }
        if let Some(before) = last.insert(aggregate, *seq)
            && before > *seq
        {
            found.broken.push(format!("of {aggregate}, {before} arrived before {seq}"));
        }
    }
    for (id, (seq, kind, aggregate)) in &facts {
        if !bodies.contains_key(*id) {
            found.broken.push(format!("event {seq}, {kind} of {aggregate}, never arrived"));
        }
    }
    found
}
