//! What must hold whenever no job runs, whatever happened before: the promises of a backup system in one place. It looks
//! at the rows, at the bytes in the stores, at the databases on the target server, at the processes and at the secrets;
//! what arrived at the broker is looked at by [`events`], for whoever listened from the start.

mod bytes;
pub mod events;
mod processes;
mod rows;
mod secrets;
mod targets;

use crate::{app::App, wait::until};

pub use bytes::{remove_grid, sha256};
pub use secrets::{everything, forms};

/// Panics with every broken promise.
pub async fn check(app: &App) {
    let broken = broken(app).await;
    assert!(broken.is_empty(), "broken promises:\n- {}", broken.join("\n- "));
}

/// Every broken promise, in words.
pub async fn broken(app: &App) -> Vec<String> {
    let mut broken = Vec::new();
    until("no job runs", || async {
        let running: i64 = app.value("SELECT count(*) FROM jobs WHERE state = 'running'").await;
        (running == 0).then_some(())
    })
    .await;
    rows::check(app, &mut broken).await;
    bytes::check(app, &mut broken).await;
    targets::check(app, &mut broken).await;
    processes::check(app, &mut broken).await;
    secrets::check(app, &mut broken).await;
    broken
}
