//! What an operator's command on one store works with: the store as it is declared, and Holdfast's own database.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret as _;
use shared::{
    config::{self, Config},
    db::{migrate, pool},
    id::InstallationId,
    name::Slug,
};
use sqlx::{Postgres, pool::PoolConnection};

use crate::{app, store::Store};

/// A store of the configuration, open, and one connection.
pub(crate) struct DeclaredStore<'a> {
    pub(crate) name: Slug,
    pub(crate) declared: &'a config::Store,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) conn: PoolConnection<Postgres>,
    /// This installation, as the database says.
    pub(crate) ours: InstallationId,
}

impl<'a> DeclaredStore<'a> {
    /// Opens both. `command` names the connection.
    pub(crate) async fn open(config: &'a Config, name: &str, command: &str) -> anyhow::Result<Self> {
        config.for_worker()?;
        let name = Slug::parse(name)?;
        let Some(declared) = config.stores.get(&name) else {
            let known: Vec<_> = config.stores.keys().map(Slug::as_str).collect();
            bail!("the configuration has no store named {name}; it has {}", known.join(", "));
        };
        let url = config.database.url.as_ref().map(secrecy::SecretString::expose_secret).unwrap_or_default();
        let pool = pool::connect(url, 1, &format!("holdfast-worker/{command}")).await;
        let mut conn = pool.context("Holdfast's database cannot be reached")?.acquire().await?;
        let ours = migrate::installation(&mut conn).await?;
        let store = app::open_store(&name, declared).await?;
        Ok(Self { name, declared, store, conn, ours })
    }
}
