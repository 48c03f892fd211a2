//! What happens in the middle: whoever goes away, and bytes that are not what they were.

use reqwest::{Method, Response};
use serde_json::json;
use support::until;

use super::Kept;

const DUMP: &str = "?store=disk&object=dump.0001";

/// Reads to the end or to the break: how many bytes came, and whether that was all.
async fn drain(mut response: Response) -> (usize, bool) {
    let mut bytes = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            Ok(None) => return (bytes, true),
            Err(_) => return (bytes, false),
        }
    }
}

/// A download that has begun and whose reader has stopped.
async fn begun(kept: &Kept) -> Response {
    let mut response = kept.ask(Method::GET, DUMP, &[]).await;
    assert_eq!(response.status(), 200);
    assert!(!response.chunk().await.unwrap().unwrap().is_empty());
    assert_eq!(kept.under_way().await, 1);
    response
}

#[tokio::test]
async fn a_save_stays_while_it_is_fetched_and_goes_when_the_reader_has_gone() {
    let kept = Kept::new().await;
    let whole = kept.swell().await;
    let response = begun(&kept).await;
    let path = format!("/v1/saves/{}", kept.save);
    let refused = kept.app.client.delete(&path).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("downloaded"), "{refused}");
    let (rest, complete) = drain(response).await;
    assert!(complete && rest < whole.len(), "{rest}");

    let response = begun(&kept).await;
    drop(response);
    let end = until("the end is audited", || async { kept.ended().await.get(1).cloned() }).await;
    assert_eq!((&end["result"], &end["outcome"]), (&json!("abandoned"), &json!("failed")), "{end}");
    assert!(end["bytes"].as_u64().unwrap() < whole.len() as u64, "{end}");
    until("the save is free", || async { (kept.under_way().await == 0).then_some(()) }).await;
    kept.app.client.delete(&path).await.expect(202);
}

#[tokio::test]
async fn a_worker_that_is_killed_breaks_the_connection_and_frees_the_save() {
    let mut kept = Kept::new().await;
    let whole = kept.swell().await;
    let response = begun(&kept).await;
    kept.worker.kill9().await;
    let (rest, complete) = drain(response).await;
    assert!(!complete && rest < whole.len(), "{rest} bytes look whole");
    let end = until("the end is audited", || async { kept.ended().await.pop() }).await;
    assert_eq!((&end["result"], &end["outcome"]), (&json!("broken"), &json!("failed")), "{end}");
    // Its last word holds for a lease.
    until("the save is free", || async { (kept.under_way().await == 0).then_some(()) }).await;
    kept.app.client.delete(&format!("/v1/saves/{}", kept.save)).await.expect(202);
}

#[tokio::test]
async fn a_reader_that_stops_is_let_go_of_and_a_slow_one_is_not() {
    let kept = Kept::with("HOLDFAST__HTTP__REQUEST_TIMEOUT_S=1\nHOLDFAST__TRANSFER__STALL_S=2\n").await;
    let whole = kept.swell().await;
    // Longer than a request may take and than either side may be silent.
    let mut response = begun(&kept).await;
    let mut bytes = 0;
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(500));
    for step in 1..=8 {
        pace.tick().await;
        while bytes < step * (10 << 20) {
            bytes += response.chunk().await.unwrap().unwrap().len();
        }
    }
    let (rest, complete) = drain(response).await;
    assert!(complete && bytes + rest < whole.len() && bytes + rest > whole.len() - (1 << 20), "{bytes} {rest}");

    let response = begun(&kept).await;
    let end = until("the end is audited", || async { kept.ended().await.get(1).cloned() }).await;
    assert_eq!((&end["result"], &end["outcome"]), (&json!("stalled"), &json!("failed")), "{end}");
    until("the save is free", || async { (kept.under_way().await == 0).then_some(()) }).await;
    let (_, complete) = drain(response).await;
    assert!(!complete);
}

#[tokio::test]
async fn what_is_damaged_never_looks_whole() {
    let kept = Kept::new().await;
    let file = kept.dump_file().await;
    let good = std::fs::read(&file).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let longer = [good.clone(), b"x".to_vec()].concat();
    let shorter = good[..good.len() - 1].to_vec();
    for (what, bytes) in
        [("first", flipped(0)), ("last", flipped(good.len() - 1)), ("longer", longer), ("shorter", shorter)]
    {
        std::fs::write(&file, &bytes).unwrap();
        for query in [DUMP, "?store=disk"] {
            let response = kept.ask(Method::GET, query, &[]).await;
            assert_eq!(response.status(), 200);
            assert!(!drain(response).await.1, "{what} {query}");
        }
    }
    std::fs::remove_file(&file).unwrap();
    let gone = kept.app.client.get(&kept.path(DUMP)).await;
    assert_eq!(gone.status, 503, "{}", gone.text);
    // The tar begins with what is there.
    assert!(!drain(kept.ask(Method::GET, "?store=disk", &[]).await).await.1);
    std::fs::write(&file, &good).unwrap();
    assert!(drain(kept.ask(Method::GET, DUMP, &[]).await).await.1);
    assert!(kept.worker.log().contains("a transfer broke off"));
}

#[tokio::test]
async fn an_api_that_stops_ends_its_transfers() {
    let mut kept = Kept::with("HOLDFAST__HTTP__REQUEST_TIMEOUT_S=1\n").await;
    kept.swell().await;
    let response = begun(&kept).await;
    assert!(kept.app.api.stop().await.success());
    assert!(!drain(response).await.1);
    until("the save is free", || async { (kept.under_way().await == 0).then_some(()) }).await;
}
