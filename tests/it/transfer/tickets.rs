//! The worker's own port: nothing without a ticket, and each ticket once.

use serde_json::json;
use support::Client;

use super::Kept;

/// A ticket that a test has written itself. What is shown.
async fn written(kept: &Kept, n: u8, life: &str) -> String {
    let shown = format!("{n:02x}").repeat(32);
    let errand = json!({ "kind": "content", "save_id": kept.save, "store": "disk", "part": "dump.0001" });
    kept.app
        .execute(&format!(
            "INSERT INTO transfers (id, ticket_hash, errand, save_id, expires_at) VALUES (gen_random_uuid(),
             sha256(decode('{shown}', 'hex')), '{errand}', '{}', clock_timestamp() + interval '{life}')",
            kept.save
        ))
        .await;
    shown
}

#[tokio::test]
async fn a_ticket_is_good_once_in_its_time_and_there_is_nothing_without() {
    let mut kept = Kept::new().await;
    let port = kept.worker.says("worker started").await["port"].as_str().unwrap().to_owned();
    let port = Client::new(format!("http://{port}"));
    port.get("/healthz").await;

    let good = written(&kept, 1, "5 min").await;
    let fetched = port.get(&format!("/transfer/{good}")).await;
    assert_eq!((fetched.status.as_u16(), fetched.header("accept-ranges")), (200, Some("bytes")));
    let late = written(&kept, 2, "-1 s").await;
    let mut refused = Vec::new();
    for shown in [
        good.as_str(),
        &late,
        &"ab".repeat(32),
        "x",
        &"0".repeat(63),
        &good.to_uppercase(),
        "..%2f..",
        &"a".repeat(5000),
    ] {
        let answer = port.get(&format!("/transfer/{shown}")).await;
        assert_eq!(answer.status, 404, "{shown}");
        refused.push(answer.text);
    }
    refused.dedup();
    assert_eq!(refused.len(), 1, "every refusal says the same: {refused:?}");
    for path in ["/", "/transfer", "/transfer/", "/transfer/a/b", "/v1/saves"] {
        let answer = port.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.text, "", "{path}");
    }

    // Good for what it was written for, and for nothing that has gone since.
    let gone = written(&kept, 3, "5 min").await;
    kept.app.execute("UPDATE saves SET state = 'deleting'").await;
    assert_eq!(port.get(&format!("/transfer/{gone}")).await.status, 409);
    kept.app.execute("UPDATE saves SET state = 'available'").await;
    assert_eq!(port.get(&format!("/transfer/{gone}")).await.status, 404, "a refused ticket is spent");
    assert_eq!(kept.under_way().await, 0);

    // Tickets are secrets: what the API shows the worker stands in no log and no row.
    kept.bytes("?object=manifest.json").await;
    assert!(!kept.app.logs().contains("/transfer/"), "a log holds a ticket");
    let stored: i64 = kept.app.value("SELECT count(*) FROM transfers WHERE errand::text ~ '[0-9a-f]{64}'").await;
    assert_eq!(stored, 0);
}
