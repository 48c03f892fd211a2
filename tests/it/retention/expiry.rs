//! Saves whose time is over.

use serde_json::json;
use support::{App, Database};

use super::{settled, versions};

#[tokio::test]
async fn what_has_expired_is_deleted_unless_it_is_pinned_or_used() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker("one").await;
    let mut saves = Vec::new();
    for _ in 0..4 {
        saves.push(app.saved(&target).await);
    }
    app.client.patch(&format!("/v1/saves/{}", saves[0]), json!({ "pinned": true })).await.expect(200);
    let used = &saves[1];
    app.execute(&format!(
        "INSERT INTO save_uses (save_id, job_id) SELECT id, job_id FROM saves WHERE id = '{used}';
         UPDATE saves SET expires_at = clock_timestamp() + CASE WHEN version = 4 THEN interval '1 day' ELSE interval '-1 s' END"
    ))
    .await;
    support::until("the used one was tried", || async {
        app.value::<bool>(&format!("SELECT expiry_tried_at IS NOT NULL FROM saves WHERE id = '{used}'"))
            .await
            .then_some(())
    })
    .await;
    support::until("the third is gone", || async { (versions(&app, &target).await == [4, 2, 1]).then_some(()) }).await;
    // It is tried again when an hour has gone by.
    app.execute("DELETE FROM save_uses; UPDATE saves SET expiry_tried_at = clock_timestamp() - interval '61 min'")
        .await;
    support::until("the second is gone", || async { (versions(&app, &target).await == [4, 1]).then_some(()) }).await;
    settled(&app).await;
    app.client.patch(&format!("/v1/saves/{}", saves[0]), json!({ "pinned": false })).await.expect(200);
    support::until("the first is gone", || async { (versions(&app, &target).await == [4]).then_some(()) }).await;
    settled(&app).await;
    app.holds().await;
}
