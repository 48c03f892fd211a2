//! `holdfast-worker adopt`: takes a store over whose marker names another installation. From then on this installation
//! writes and deletes there, and the other one is refused.

use anyhow::{Context as _, bail};
use shared::{config::Config, db::audit};
use sqlx::Connection;

use crate::declared::DeclaredStore;

/// What became of the wish.
#[derive(Debug)]
pub struct Adopted {
    /// A sentence for the person who asked.
    pub told: String,
}

/// Shows whose the store is, and with `sure` makes it ours.
pub async fn adopt(config: &Config, name: &str, sure: bool) -> anyhow::Result<Adopted> {
    let DeclaredStore { name, store, mut conn, ours, .. } = DeclaredStore::open(config, name, "adopt").await?;
    let Some(found) = store.marker().await? else {
        if !sure {
            bail!(
                "store {name} belongs to nobody; installation {ours} would claim it with its first save, or now with --yes"
            );
        }
        let marker = store.claim(ours).await?;
        return Ok(Adopted { told: format!("store {name} belongs to installation {} now", marker.installation) });
    };
    if found.installation == ours {
        return Ok(Adopted { told: format!("store {name} belongs to this installation ({ours}) already") });
    }
    if !sure {
        bail!(
            "store {name} belongs to installation {} since {}; this is installation {ours}. If that one is gone for good, \
             repeat this with --yes: from then on it is refused here, and what it stored is reported as foreign",
            found.installation,
            found.created_at.to_rfc3339()
        );
    }
    // One transaction around the change: no marker without its audit entry, but for a commit that fails.
    let mut tx = conn.begin().await?;
    let entry = audit::Entry {
        action: "store.adopt",
        resource_type: Some("store"),
        resource_id: Some(name.to_string()),
        detail: serde_json::json!({ "from": found.installation, "to": ours, "since": found.created_at }),
        ..audit::Entry::default()
    };
    audit::insert(&mut tx, &entry).await?;
    store.adopt(found.installation, ours).await?;
    tx.commit().await.context("the store is ours, but the audit entry was not written")?;
    tracing::warn!(store = %name, from = %found.installation, to = %ours, "store adopted");
    Ok(Adopted {
        told: format!("store {name} belonged to installation {} and belongs to {ours} now", found.installation),
    })
}
