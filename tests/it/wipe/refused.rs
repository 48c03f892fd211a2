//! What is not wiped, and why: then nothing is touched.

use serde_json::json;
use support::{TargetSpec, database, stack};

use super::Scene;

#[tokio::test]
async fn a_kept_table_that_refers_to_one_that_would_go_stops_it_all() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let dry = scene.wipe(json!({ "dry_run": true, "keep": ["bids"] })).await;
    let dry = scene.app.client.job_is(&dry, "succeeded").await;
    assert_eq!(
        (&dry["result"]["would_fail"], &dry["result"]["problems"][0]["code"]),
        (&json!(true), &json!("kept_table_refers"))
    );
    let job = scene.wipe(json!({ "keep": ["bids"] })).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    let error = &failed["error"];
    assert_eq!(error["code"], "kept_table_refers", "{failed:#}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(r#""public"."bids""#) && message.contains(r#""public"."lots""#), "{message}");
    assert!(error["hint"].as_str().unwrap().contains("public.lots"), "{failed:#}");
    // It is found before a save is begun.
    assert_eq!(scene.app.value::<i64>("SELECT count(*) FROM saves WHERE state = 'available'").await, 0);
    scene.untouched().await;
    scene.app.holds().await;
}

#[tokio::test]
async fn a_lock_that_somebody_holds_ends_it_in_time() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    // A dump can pass this one, a truncation cannot.
    let mut session = scene.shop.database.session().await;
    database::run(&mut session, "BEGIN; SELECT count(*) FROM lots").await;
    let job = scene.wipe(json!({ "lock_timeout_s": 1 })).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    assert_eq!((&failed["error"]["code"], &failed["attempt"]), (&json!("lock_timeout"), &json!(1)), "{failed:#}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("nothing was changed"), "{failed:#}");
    drop(session);
    scene.untouched().await;
    // Its safety save was good, and stays.
    assert_eq!(scene.app.value::<i64>("SELECT count(*) FROM saves WHERE state = 'available'").await, 1);
    let again = scene.app.client.post(&format!("/v1/jobs/{job}/retry"), json!({})).await.id();
    scene.app.client.job_is(&again, "succeeded").await;
    assert!(scene.is_empty().await);
    scene.app.holds().await;
}

#[tokio::test]
async fn what_is_not_confirmed_or_out_of_bounds_is_not_begun() {
    let scene = Scene::set().await;
    let path = format!("/v1/targets/{}/wipe", scene.target);
    let name = &scene.shop.database.name;
    for (body, pointer) in [
        (json!({}), "/confirm"),
        (json!({ "confirm": "items" }), "/confirm"),
        (json!({ "confirm": name.to_uppercase() }), "/confirm"),
        (json!({ "confirm": name, "keep": [""] }), "/keep/0"),
        (json!({ "confirm": name, "keep": vec!["a"; 101] }), "/keep"),
        (json!({ "confirm": name, "lock_timeout_s": 0 }), "/lock_timeout_s"),
        (json!({ "confirm": name, "priority": 10 }), "/priority"),
        (json!({ "confirm": name, "force": true }), "/force"),
    ] {
        let refused = scene.app.client.post(&path, body.clone()).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused:#}");
    }
    let target = format!("/v1/targets/{}", scene.target);
    let refused = scene.app.client.patch(&target, json!({ "wipe_keep": ["a", "b\u{0}"] })).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/wipe_keep/1", "{refused:#}");
    let kept = scene.app.client.patch(&target, json!({ "wipe_keep": ["a*"] })).await.expect(200);
    assert_eq!(kept["wipe_keep"], json!(["a*"]));
    assert_eq!(scene.app.value::<i64>("SELECT count(*) FROM jobs").await, 0);
    scene.untouched().await;
    scene.app.holds().await;
}

#[tokio::test]
async fn a_target_that_has_moved_since_it_was_confirmed_is_not_wiped() {
    let scene = Scene::set().await;
    let other = support::Owned::create(super::SHOP).await;
    let before = other.digest().await;
    let job = scene.wipe(json!({ "safety_save": false })).await;
    let body = json!({ "database": other.database.name });
    scene.app.client.patch(&format!("/v1/targets/{}", scene.target), body).await.expect(200);
    let _worker = scene.app.worker("one").await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "target_changed", "{failed:#}");
    // Nor when the job is asked for again, as it is still the other database that was confirmed.
    let again = scene.app.client.post(&format!("/v1/jobs/{job}/retry"), json!({})).await.id();
    scene.app.client.job_is(&again, "failed").await;
    scene.untouched().await;
    assert_eq!(other.digest().await, before);
    scene.app.holds().await;
}

#[tokio::test]
async fn a_role_that_may_only_read_is_told_so_before_anything_is_done() {
    let scene = Scene::set().await;
    let spec = TargetSpec::of(&scene.shop.database.name);
    let (user, password) = &spec.backup;
    let tag = stack::fresh("r").replace('_', "-");
    let body = json!({ "name": tag, "user_name": user, "password": password });
    let reader = scene.app.client.post("/v1/credentials", body).await.id();
    let body = json!({ "restore_credential_id": reader });
    scene.app.client.patch(&format!("/v1/targets/{}", scene.target), body).await.expect(200);
    let _worker = scene.app.worker("one").await;
    let job = scene.wipe(json!({})).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "permission_denied", "{failed:#}");
    scene.untouched().await;
    scene.app.holds().await;
}

#[tokio::test]
async fn without_a_good_safety_save_nothing_is_wiped() {
    let scene = Scene::set().await;
    // A store that no worker of this installation has.
    scene.app.execute("UPDATE targets SET stores = '{nowhere}'").await;
    let _worker = scene.app.worker("one").await;
    let job = scene.wipe(json!({})).await;
    let failed = scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    assert_eq!(failed["state"], "failed", "{failed:#}");
    scene.untouched().await;
    scene.app.holds().await;
}

#[tokio::test]
async fn a_cancel_before_the_commit_leaves_all_as_it_was() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let mut session = scene.shop.database.session().await;
    database::run(&mut session, "BEGIN; SELECT count(*) FROM lots").await;
    let job = scene.wipe(json!({ "safety_save": false, "lock_timeout_s": 300 })).await;
    scene.shop.database.dump_waits().await;
    scene.app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await.expect(202);
    scene.app.client.job_is(&job, "cancelled").await;
    drop(session);
    scene.untouched().await;
    scene.app.holds().await;
}
