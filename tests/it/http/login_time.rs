//! What logins cost: the same whoever does not exist, and never what others need.

use std::time::{Duration, Instant};

use serde_json::json;
use support::{App, Client, stack};

async fn refused(client: &Client, name: &str) -> Duration {
    let body = json!({ "name": name, "password": "not the password of anybody" });
    let began = Instant::now();
    let answer = client.post("/v1/auth/login", body).await;
    let took = began.elapsed();
    answer.expect(401);
    took
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2].as_secs_f64()
}

/// Measured in turns, so that whatever else the machine does falls on both alike, and for as long as it takes: noise alone lets the
/// medians come together sooner or later; a hash that is not computed, or under other parameters, never does.
#[tokio::test]
async fn nobody_learns_from_the_time_whether_a_name_is_known() {
    const WITHIN: f64 = 0.05;
    let app = App::spawn().await;
    let client = app.client.anonymous();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for round in 0..40 {
        for pair in 0..8 {
            let nobody = stack::fresh("nobody");
            if pair % 2 == 0 {
                known.push(refused(&client, "root").await);
                unknown.push(refused(&client, &nobody).await);
            } else {
                unknown.push(refused(&client, &nobody).await);
                known.push(refused(&client, "root").await);
            }
        }
        app.execute("DELETE FROM login_failures").await;
        let apart = median(&unknown) / median(&known) - 1.0;
        if round >= 1 && apart.abs() <= WITHIN {
            return;
        }
    }
    panic!("known {:.4} s, unknown {:.4} s in the median of {}", median(&known), median(&unknown), known.len());
}

/// More hashes at once than there are cores would starve everybody: they wait for each other, and nobody for them.
#[tokio::test]
async fn two_hundred_logins_at_once_keep_nobody_waiting() {
    const LOGINS: usize = 200;
    const READS: usize = 30;
    let app = App::spawn().await;
    let client = app.client.anonymous();
    let logins: Vec<_> = (0..LOGINS)
        .map(|number| {
            let client = client.clone();
            let body = json!({ "name": format!("nobody-{number}"), "password": "not the password of anybody" });
            tokio::spawn(async move { client.post("/v1/auth/login", body).await })
        })
        .collect();
    support::until("the first login is answered", || async {
        logins.iter().any(tokio::task::JoinHandle::is_finished).then_some(())
    })
    .await;
    for _ in 0..READS {
        app.client.get("/v1/auth/me").await.expect(200);
    }
    let waiting = logins.iter().filter(|login| !login.is_finished()).count();
    assert!(waiting > LOGINS / 10, "{READS} reads took as long as {} of {LOGINS} logins", LOGINS - waiting);
    // On a slow machine the last ones wait for longer than a request may take.
    for login in logins {
        let answer = login.await.unwrap();
        assert!([401, 504].contains(&answer.status.as_u16()), "{}", answer.text);
    }
}
