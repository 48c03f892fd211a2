//! Three nights in which nobody looks. Both engines are saved, a save goes bad in its store, the drill finds it, retention keeps
//! what is of use, and the last good night comes back: by itself, and with the other database as a data set.
//!
//! The clock is the test's: a night is there when it is called, and every step begins when the one before has come to rest. The
//! steps are those of [`Nights`], in their order.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use support::{
    App, Database, Digest, Listener, Owned, Process, WorkerSpec, database, digest::auction, invariants, stack, until,
};

use super::{event, slots};
use crate::{
    mongo::scene::{Contents, Shop},
    proofs::drilling,
    retention::{fated, planned, reasons, settled, told, versions},
};

/// A Friday, on which the schedule is made and tried.
const FRIDAY: &str = "2031-03-28T12:00:00Z";
/// Five o'clock in Berlin, where the clocks go forward in the second night.
const NIGHTS: [&str; 3] = ["2031-03-29T04:00:00Z", "2031-03-30T03:00:00Z", "2031-03-31T03:00:00Z"];
/// More than two days after the drills of Friday.
const SUNDAY: &str = "2031-03-30T13:00:00Z";
/// A day and a half after the first night.
const SUNDAY_EVENING: &str = "2031-03-30T18:00:00Z";
/// More than a day after Sunday's, and less than two.
const MONDAY: &str = "2031-03-31T14:00:00Z";

/// The save that goes bad, and the one before it: those of the second night and of the first.
const BAD: i32 = 3;
const LAST_GOOD: i32 = 2;

/// An installation with a service of two databases, one of each engine, and the schedule that keeps them.
struct Nights {
    app: App,
    listener: Listener,
    _worker: Process,
    owned: Owned,
    shop: Shop,
    /// Targets: the database and the shop.
    items: String,
    docs: String,
    schedule: String,
    /// What both held when their saves were made: that of version 1 first.
    held: Vec<(Digest, Contents)>,
}

#[tokio::test]
async fn three_nights_pass_a_save_goes_bad_and_the_last_good_one_comes_back() {
    let mut nights = Nights::begin().await;
    nights.is_tried().await;
    nights.night(0).await;
    nights.night(1).await;
    nights.goes_bad().await;
    nights.drill_finds_it().await;
    nights.is_overdue().await;
    let forecast = nights.forecast().await;
    nights.night(2).await;
    nights.kept_as_forecast(&forecast).await;
    nights.drill_proves_the_newest().await;
    nights.comes_back().await;
    nights.comes_back_as_one().await;
    nights.over().await;
}

impl Nights {
    async fn begin() -> Self {
        let (owned, shop) = (Owned::create(&auction(7, 200)).await, Shop::open().await);
        shop.fill().await;
        let mut app = App::spawn_at(FRIDAY).await;
        let listener = Listener::open().await;
        let worker = WorkerSpec { exchange: Some(listener.exchange.clone()), slots: 3, ..drilling("nightly") };
        let worker = app.worker_with(&worker).await;
        let (items, docs) = (app.target(&owned.database).await, app.target_with(&shop.spec()).await);
        let service = app.service().await;
        let body = json!({
            "name": "nightly", "covers": "service", "service_id": service, "expression": "0 5 * * *", "zone": "Europe/Berlin",
            "retention": { "daily": 2 }, "verification": { "restore_days": 2 },
        });
        let schedule = app.client.post("/v1/schedules", body).await.id();
        let ahead = format!("/v1/schedules/{schedule}/upcoming?count=3&from={FRIDAY}");
        let ahead = app.client.get(&ahead).await.expect(200);
        let moments: Vec<&str> =
            ahead.as_array().unwrap().iter().map(|moment| moment["at"].as_str().unwrap()).collect();
        assert_eq!(moments, NIGHTS);
        Self { app, listener, _worker: worker, owned, shop, items, docs, schedule, held: Vec::new() }
    }

    /// Somebody fires it by hand. What it has never proven it drills at once.
    async fn is_tried(&mut self) {
        self.remember().await;
        let slot = self.app.client.post(&format!("/v1/schedules/{}/run", self.schedule), Value::Null).await.expect(202);
        self.verified(2, 0).await;
        self.group(&slot).await;
        for target in [&self.items, &self.docs] {
            let save = self.shown(target, 1).await;
            assert_eq!((&save["verified_depth"], &save["origin"]), (&json!("restore"), &json!("schedule")), "{save:#}");
        }
    }

    /// The people of the day have changed something, and it is five o'clock.
    async fn night(&mut self, night: usize) {
        self.change(i32::try_from(night).unwrap()).await;
        self.remember().await;
        let at = NIGHTS[night];
        self.app.time_is(at).await;
        let ran = format!("/v1/schedules/{}/slots?state=ran", self.schedule);
        let slot = until(&format!("the slot of {at} has run"), || async {
            let slots = self.app.client.get(&ran).await.expect(200);
            slots.as_array().unwrap().iter().find(|slot| slot["at"] == at).cloned()
        })
        .await;
        assert_eq!((&slot["by_hand"], &slot["reason"]), (&json!(false), &Value::Null), "{slot:#}");
        settled(&self.app).await;
        self.group(&slot).await;
        for target in [&self.items, &self.docs] {
            let save = self.shown(target, i32::try_from(night + 2).unwrap()).await;
            let hour = &at[..13];
            assert!(save["created_at"].as_str().unwrap().starts_with(hour), "{save:#}");
            assert_eq!((&save["valid"], &save["suspicious"]), (&json!(true), &json!(false)), "{save:#}");
        }
    }

    /// One bit of the second night's dump of the database. Nobody hears of it.
    async fn goes_bad(&self) {
        let key: String = self
            .app
            .value(&format!(
                "SELECT o.key FROM save_objects o JOIN saves s ON s.id = o.save_id
                 WHERE s.target_id = '{}' AND s.version = {BAD} AND o.part = 'dump.0001'",
                self.items
            ))
            .await;
        let path = self.app.store().join(key);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let save = self.shown(&self.items, BAD).await;
        assert_eq!((&save["valid"], &save["verified_at"]), (&json!(true), &Value::Null), "{save:#}");
        assert_eq!(told(&self.app, "save.corrupt").await, Vec::<Value>::new());
    }

    /// Two days after the first ones the schedule wants its drills, and asks for them by itself.
    async fn drill_finds_it(&mut self) {
        self.app.time_is(SUNDAY).await;
        self.verified(3, 1).await;
        let save = self.shown(&self.items, BAD).await;
        let id = save["id"].clone();
        assert_eq!((&save["valid"], &save["verified_at"]), (&json!(false), &Value::Null), "{save:#}");
        assert_eq!(save["copies"][0]["state"], "corrupt", "{save:#}");
        let found = &save["verifications"][0];
        assert_eq!((&found["depth"], &found["passed"]), (&json!("restore"), &json!(false)), "{save:#}");
        let data = event(&self.listener, "save.corrupt").await;
        assert_eq!((&data["save_id"], &data["depth"]), (&id, &json!("restore")), "{data:#}");
        let proven = self.shown(&self.docs, BAD).await;
        assert_eq!((&proven["valid"], &proven["verified_depth"]), (&json!(true), &json!("restore")), "{proven:#}");
        let asked: Vec<Option<String>> =
            self.app.values("SELECT requested_by::text FROM jobs WHERE kind = 'verify'").await;
        assert_eq!(asked, vec![None; 4], "a person has called for a drill");

        // It is offered to nobody who does not insist.
        let offered = format!("/v1/saves?target={}&state=available&valid=true", self.items);
        let offered = self.app.client.get(&offered).await.expect(200);
        let offered: Vec<&Value> = offered.as_array().unwrap().iter().map(|save| &save["version"]).collect();
        assert_eq!(offered, [LAST_GOOD, 1]);
        let body = json!({ "into": { "database": stack::fresh("new") } });
        let path = format!("/v1/saves/{}/restore", id.as_str().unwrap());
        let refused = self.app.client.post(&path, body).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "/allow_invalid", "{refused:#}");
        assert_eq!(self.report().await, [("items", 3, 2, 1), ("docs", 3, 3, 0)].map(owned));
    }

    /// What is bad is no save: one of the targets has had none for one and a half intervals, although nothing has failed.
    async fn is_overdue(&mut self) {
        self.app.time_is(SUNDAY_EVENING).await;
        let data = event(&self.listener, "backup.overdue").await;
        let targets: Vec<&Value> =
            data["targets"].as_array().unwrap().iter().map(|target| &target["target_id"]).collect();
        assert_eq!(targets, [&self.items], "{data:#}");
        let schedule = self.app.client.get(&format!("/v1/schedules/{}", self.schedule)).await.expect(200);
        assert!(schedule["overdue_at"].as_str().unwrap().starts_with("2031-03-30T18:"), "{schedule:#}");
    }

    /// What the next night will leave of either target. A day stands for it, of the two that are kept.
    async fn forecast(&self) -> [Value; 2] {
        let query = |target: &str| format!("?daily=1&target={target}");
        let items = planned(&self.app, &self.schedule, &query(&self.items)).await;
        assert_eq!(fated(&items, "remove"), Vec::<i64>::new(), "{items:#}");
        let docs = planned(&self.app, &self.schedule, &query(&self.docs)).await;
        assert_eq!(fated(&docs, "remove"), [2, 1], "{docs:#}");
        assert_eq!(reasons(&docs, 2), ["daily: 2031-03-29 is before the 1 that are kept"]);
        assert_eq!(reasons(&docs, 1), ["daily: 2031-03-28 is before the 1 that are kept"]);
        // Nothing is done by asking.
        settled(&self.app).await;
        assert_eq!(told(&self.app, "retention.applied").await, Vec::<Value>::new());
        [items, docs]
    }

    /// The third night has gone by, and what was to go is gone. The bad save stands for no day, so that the first night stays.
    async fn kept_as_forecast(&self, forecast: &[Value; 2]) {
        let data = event(&self.listener, "backup.resumed").await;
        assert_eq!(data["schedule_id"], *self.schedule, "{data:#}");
        for (target, forecast, left) in
            [(&self.items, &forecast[0], vec![4, 3, 2, 1]), (&self.docs, &forecast[1], vec![4, 3])]
        {
            assert_eq!(versions(&self.app, target).await, left);
            let mut kept = vec![4];
            kept.extend(fated(forecast, "keep"));
            let plan = planned(&self.app, &self.schedule, &format!("?target={target}")).await;
            assert_eq!((fated(&plan, "keep"), fated(&plan, "remove")), (kept.clone(), vec![]), "{plan:#}");
            assert_eq!(
                (&plan["last_run"]["kept"], &plan["last_run"]["removed"], &plan["blocked"]),
                (&json!(kept.len()), &forecast["removed"], &Value::Null),
                "{plan:#}"
            );
        }
        let items = planned(&self.app, &self.schedule, &format!("?target={}", self.items)).await;
        assert_eq!(
            reasons(&items, 3),
            ["it is invalid and stands for nothing: it stays until somebody deletes it"],
            "{items:#}"
        );
        assert_eq!(reasons(&items, 2), ["daily: the newest of 2031-03-29, 2 of 2"]);
        assert_eq!(reasons(&items, 1), ["verified: one of the newest 1"]);
        let docs = planned(&self.app, &self.schedule, &format!("?target={}", self.docs)).await;
        assert_eq!(reasons(&docs, 3), ["verified: one of the newest 1", "daily: the newest of 2031-03-30, 2 of 2"]);
        let applied = told(&self.app, "retention.applied").await;
        assert_eq!(applied.len(), 1, "{applied:#?}");
        let going = forecast[1]["saves"].as_array().unwrap().iter().rev().filter(|line| line["fate"] == "remove");
        let going: Vec<&Value> = going.map(|line| &line["save_id"]).collect();
        assert_eq!((&applied[0]["target_id"], &applied[0]["saves"]), (&json!(self.docs), &json!(going)));
        assert_eq!(applied[0]["freed_bytes"], forecast[1]["freed_bytes"]);
    }

    /// A day later the drill that failed is due again, of the save that is the newest by then; that of the shop is not yet.
    async fn drill_proves_the_newest(&mut self) {
        self.app.time_is(MONDAY).await;
        self.verified(4, 1).await;
        let (items, docs) = (self.shown(&self.items, 4).await, self.shown(&self.docs, 4).await);
        assert_eq!((&items["verified_depth"], &docs["verified_depth"]), (&json!("restore"), &Value::Null));
        assert_eq!(self.report().await, [("items", 4, 3, 1), ("docs", 2, 2, 0)].map(owned));
    }

    /// Into new databases: the last night that is good of those up to the damage, and the newest.
    async fn comes_back(&self) {
        for version in [LAST_GOOD, 4] {
            let save = self.shown(&self.items, version).await;
            let copy = Database { name: stack::fresh("copy") };
            let job = self.app.restore(save["id"].as_str().unwrap(), &copy.name).await;
            self.app.client.job_is(&job, "succeeded").await;
            let (found, (held, _)) = (Digest::of(&copy.name).await, self.held(version));
            assert_eq!((&found.rows, &found.sequences), (&held.rows, &held.sequences), "version {version}");
        }
        for version in [BAD, 4] {
            let save = self.shown(&self.docs, version).await;
            let copy = Shop::named(&stack::fresh("copy")).await;
            let body = json!({ "into": { "database": copy.name } });
            let path = format!("/v1/saves/{}/restore", save["id"].as_str().unwrap());
            let job = self.app.client.post(&path, body).await.id();
            self.app.client.job_is(&job, "succeeded").await;
            assert!(copy.contents().await == self.held(version).1, "version {version} came back otherwise");
        }
    }

    /// Both, as they were on Sunday evening as far as it was saved and is good: in their own places.
    async fn comes_back_as_one(&self) {
        let sunday = json!({ "name": "sunday", "as_of": SUNDAY_EVENING });
        let set = self.app.client.post("/v1/data-sets", sunday).await.expect(201);
        let held: Vec<(&Value, &Value)> =
            set["members"].as_array().unwrap().iter().map(|one| (&one["target_id"], &one["version"])).collect();
        let (items, docs) = (json!(self.items), json!(self.docs));
        let (good, newest) = (json!(LAST_GOOD), json!(BAD));
        assert!(held.len() == 2 && held.contains(&(&items, &good)) && held.contains(&(&docs, &newest)), "{set:#}");
        let path = format!("/v1/data-sets/{}/restore?wait=60s", set["id"].as_str().unwrap());
        let body = json!({ "confirm": "sunday", "safety": false });
        let restored = self.app.client.post(&path, body).await.expect(202);
        assert_eq!(restored["state"], "succeeded", "{restored:#}");
        let found = Digest::of(&self.owned.database.name).await;
        let rows = &self.held(LAST_GOOD).0;
        assert_eq!((&found.rows, &found.sequences), (&rows.rows, &rows.sequences));
        assert!(self.shop.contents().await == self.held(BAD).1, "the shop came back otherwise");
    }

    /// The bad one is deleted by whoever has heard of it, and everything was told of that was to be told of, and nothing else.
    async fn over(self) {
        let bad = self.shown(&self.items, BAD).await;
        let job = self.app.client.delete(&format!("/v1/saves/{}", bad["id"].as_str().unwrap())).await.id();
        self.app.client.job_is(&job, "succeeded").await;
        let counted = |state: &'static str| slots(&self.app, &self.schedule, state);
        assert_eq!((counted("ran").await, counted("planned").await), (4, 1));
        for state in ["skipped", "missed", "unreachable"] {
            assert_eq!(counted(state).await, 0, "{state}");
        }
        let heard = invariants::events::check(&self.app, &self.listener).await;
        assert_eq!(heard.broken, Vec::<String>::new());
        let mut kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for told in self.listener.heard() {
            kinds.entry(told.routing_key).or_default().insert(told.message_id);
        }
        for (kind, times) in [
            ("save.completed", 8),
            ("save.verified", 4),
            ("save.corrupt", 1),
            ("save.deleted", 3),
            ("retention.applied", 1),
            ("retention.blocked", 0),
            ("save.suspicious", 0),
            ("backup.overdue", 1),
            ("backup.resumed", 1),
            ("slot.missed", 0),
            ("job.failed", 0),
        ] {
            assert_eq!(kinds.get(kind).map_or(0, BTreeSet::len), times, "{kind}: {kinds:#?}");
        }
        self.app.holds().await;
        self.listener.close().await;
    }

    /// Notes what both hold, before they are saved.
    async fn remember(&mut self) {
        let now = (Digest::of(&self.owned.database.name).await, self.shop.contents().await);
        assert!(self.held.last().is_none_or(|(rows, contents)| *rows != now.0 && *contents != now.1));
        self.held.push(now);
    }

    fn held(&self, version: i32) -> &(Digest, Contents) {
        &self.held[usize::try_from(version).unwrap() - 1]
    }

    /// What a day changes in both.
    async fn change(&self, day: i32) {
        let sql = format!(
            "INSERT INTO lots SELECT 1000 + 10 * {day} + n, 'lot of day {day}' FROM generate_series(1, 10) n;
             INSERT INTO bids (lot, cents) SELECT 1000 + 10 * {day} + n, n FROM generate_series(1, 10) n;
             UPDATE lots SET note = 'sold on day {day}' WHERE id % 9 = {day}; DELETE FROM bids WHERE id % 13 = {day}"
        );
        database::run(&mut self.owned.database.session().await, &sql).await;
        let lots = self.shop.database.collection::<Document>("lots");
        let more = (0..10).map(|n| doc! { "_id": 3000 + 10 * day + n, "title": format!("Los {n} vom Tag {day}") });
        lots.insert_many(more).await.unwrap();
        lots.update_many(doc! { "_id": { "$lt": 5 } }, doc! { "$set": { "sold": day } }).await.unwrap();
        lots.delete_many(doc! { "_id": { "$in": [100 + day, 200 + day] } }).await.unwrap();
    }

    /// Waits until so many verifications have been passed, and so many not, and everything has come to rest.
    async fn verified(&self, passed: usize, failed: usize) {
        until(&format!("{passed} verifications are passed, {failed} are not"), || async {
            let ended = (told(&self.app, "save.verified").await.len(), told(&self.app, "save.corrupt").await.len());
            assert!(ended.0 <= passed && ended.1 <= failed, "{ended:?} instead of {:?}", (passed, failed));
            (ended == (passed, failed)).then_some(())
        })
        .await;
        settled(&self.app).await;
    }

    /// The jobs of the slot are a backup of each target, and have succeeded.
    async fn group(&self, slot: &Value) {
        let group = slot["group_id"].as_str().unwrap();
        let group = self.app.client.get(&format!("/v1/groups/{group}")).await.expect(200);
        assert_eq!((&group["state"], &group["total"]), (&json!("succeeded"), &json!(2)), "{group:#}");
        let mut targets: Vec<&Value> = group["jobs"].as_array().unwrap().iter().map(|job| &job["target_id"]).collect();
        targets.sort_unstable_by_key(|target| target.as_str());
        let mut expected = [&self.items, &self.docs];
        expected.sort_unstable();
        assert_eq!(targets, expected, "{group:#}");
    }

    /// The save of the target with this version.
    async fn shown(&self, target: &str, version: i32) -> Value {
        let saves = self.app.client.get(&format!("/v1/saves?target={target}&limit=100")).await.expect(200);
        let save = saves.as_array().unwrap().iter().find(|save| save["version"] == version);
        let id = save.unwrap_or_else(|| panic!("no version {version}: {saves:#}"))["id"].as_str().unwrap();
        self.app.client.get(&format!("/v1/saves/{id}")).await.expect(200)
    }

    /// Of each target: how many saves there are, how many of them are valid, and how many are not.
    async fn report(&self) -> [(String, i64, i64, i64); 2] {
        let lines = self.app.client.get("/v1/saves/report?by=target").await.expect(200);
        [("items", &self.items), ("docs", &self.docs)].map(|(name, target)| {
            let line = lines.as_array().unwrap().iter().find(|line| line["target_id"] == **target).unwrap();
            let figure = |name: &str| line[name].as_i64().unwrap();
            assert_eq!((figure("suspicious"), figure("failed")), (0, 0), "{line:#}");
            (name.to_owned(), figure("saved"), figure("valid"), figure("invalid"))
        })
    }
}

fn owned((name, saved, valid, invalid): (&str, i64, i64, i64)) -> (String, i64, i64, i64) {
    (name.to_owned(), saved, valid, invalid)
}
