//! Wiring: configuration → context → the loops of a worker. Tests build the same.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use shared::{
    config::{self, Config, StoreKind},
    db::{
        migrate, pool,
        workers::{self, WorkerRow},
    },
    name::Slug,
    secret::{KeyRing, PublicKey},
    shutdown::Shutdown,
};

use crate::{
    context::{Context, Packing, Stores},
    dispatch::Dispatch,
    engine::{
        clients::Clients,
        mongodb::{MongoTools, Mongodb},
        postgres::Postgres,
        process::Launcher,
        secrets,
    },
    event,
    port::Port,
    scheduler,
    signing::Signer,
    store::{FileStore, GridFsSettings, GridFsStore, ReadBack, S3Store, Store, StoreError},
    stream::Encryption,
    sweeper,
};

/// A worker that runs.
#[derive(Debug)]
pub struct App {
    pub shutdown: Shutdown,
    grace: Duration,
}

impl App {
    /// Connects to everything, clears what a killed predecessor left, and starts the loops.
    pub async fn start(config: &Config, launcher: Launcher) -> anyhow::Result<Self> {
        config.for_worker()?;
        let url = config.database.url.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
        let pool = pool::connect(url, config.database.max_connections, "holdfast-worker").await?;
        let beats = pool::connect(url, config.database.beat_connections, "holdfast-worker/beat").await?;
        let hints = pool::connect(url, 4, "holdfast-worker/hint").await?;
        let installation = migrate::installation(&mut *pool.acquire().await?).await?;

        let settings = config.worker.clone();
        let run_dir = secrets::choose_run_dir(Some(&settings.run_dir));
        for left in secrets::sweep(&run_dir)? {
            tracing::warn!(path = %left.display(), "removed the secrets of a worker that was killed");
        }
        let path = std::env::var_os("PATH");
        let clients = Clients::discover(&launcher, &settings.pg_bindirs, path.as_deref()).await;
        let mongo_tools = MongoTools::discover(&launcher, path.as_deref()).await;
        let keys = config.secrets.ring.clone().unwrap_or_default();
        let shutdown = Shutdown::new();
        let ctx = Arc::new(Context {
            installation,
            pool: pool.clone(),
            beats,
            stores: stores(&config.stores).await?,
            mongodb: Mongodb { launcher: launcher.clone(), run_dir: run_dir.clone(), tools: mongo_tools },
            packing: config.stores.iter().map(|(name, store)| (name.clone(), packing(name, store))).collect(),
            postgres: Postgres { launcher, clients, run_dir },
            signer: Signer::of(&keys, config.secrets.public_key.as_ref().map(PublicKey::key_id).as_deref()),
            keys: keys.clone(),
            settings,
            gc: config.gc.clone(),
            jobs: config.jobs.clone(),
            transfer: config.transfer.clone(),
            scratch: config.scratch.clone(),
        });
        let id = uuid::Uuid::now_v7();
        let name = format!("{}/{}", ctx.settings.name, id.simple());
        let listener = tokio::net::TcpListener::bind(ctx.settings.port_listen).await?;
        let address = listener.local_addr()?;
        let me = describe(&ctx, id, &keys, address);
        // At once, so that whoever is told that the worker has started is not told of none.
        workers::seen(&mut *pool.acquire().await?, &me).await?;

        let dispatch = Dispatch::new(Arc::clone(&ctx), shutdown.clone(), name);
        dispatch.start(hints);
        // Neither is waited for: sweeping and health go on until the last job is done.
        shutdown.tasks().spawn(sweeper::run(Arc::clone(&ctx), me, shutdown.soft().clone()));
        if ctx.settings.scheduler {
            shutdown.tasks().spawn(scheduler::run(Arc::clone(&ctx), shutdown.soft().clone()));
        }
        event::start(config, installation, &shutdown);
        inspect(&ctx, &shutdown);
        tracing::info!(worker.name = %ctx.settings.name, worker.slots = ctx.settings.slots, port = %address, "worker started");
        let port = Port { ctx: Arc::clone(&ctx), shutdown: shutdown.clone(), dispatch };
        shutdown.tasks().spawn(async move {
            if let Err(error) = port.serve(listener).await {
                tracing::error!(error = %shared::telemetry::Causes(&error), "the health port failed");
            }
        });
        Ok(Self { shutdown, grace: ctx.settings.grace })
    }

    /// Waits for the end: soft, then hard after the grace period.
    pub async fn finished(self) {
        self.shutdown.finished(self.grace).await;
    }
}

async fn stores(declared: &config::Stores) -> anyhow::Result<Stores> {
    let mut stores = Stores::new();
    for (name, store) in declared {
        let opened = open_store(name, store).await?;
        #[cfg(debug_assertions)]
        let opened = Arc::new(crate::store::Failing::new(opened));
        stores.insert(name.clone(), opened);
    }
    Ok(stores)
}

/// How a store's bytes are packed, as it is declared.
pub(crate) fn packing(name: &Slug, store: &config::Store) -> Packing {
    let encryption = store.encryption.clone().map(|settings| Arc::new(Encryption::new(name.clone(), settings)));
    if encryption.as_ref().is_some_and(|encryption| !encryption.can_read()) {
        tracing::info!(store = %name, "no identity: this worker writes there and can neither restore nor verify what it wrote");
    }
    Packing { encryption, object_bytes: store.object_bytes }
}

/// Opens a store as it is declared.
pub(crate) async fn open_store(name: &Slug, store: &config::Store) -> Result<Arc<dyn Store>, StoreError> {
    let read_back = match store.read_back {
        config::ReadBack::Full => ReadBack::Full,
        config::ReadBack::Off => ReadBack::Off,
    };
    Ok(match &store.kind {
        StoreKind::File { root } => Arc::new(FileStore::open(name.clone(), root.clone(), read_back).await?),
        StoreKind::Gridfs { uri, database, bucket, chunk_bytes } => {
            let settings = GridFsSettings {
                uri: uri.clone(),
                database: database.clone(),
                bucket: bucket.clone(),
                chunk_bytes: *chunk_bytes,
                read_back,
            };
            Arc::new(GridFsStore::open(name.clone(), &settings).await?)
        }
        StoreKind::S3(settings) => Arc::new(S3Store::open(name.clone(), settings, read_back)?),
    })
}

/// Looks at every store beside what the worker does. One that is not fit is refused by each job that asks for it: the
/// others are as good as they were.
fn inspect(ctx: &Context, shutdown: &Shutdown) {
    for store in ctx.stores.values() {
        let (store, stop) = (Arc::clone(store), shutdown.soft().clone());
        shutdown.tasks().spawn(async move {
            let found = tokio::select! {
                () = stop.cancelled() => return,
                found = store.inspect() => found,
            };
            if let Err(error) = found {
                tracing::error!(store = %store.name(), error.code = error.code(), error = %shared::telemetry::Causes(&error), "the store is refused");
            }
        });
    }
}

fn describe(ctx: &Context, id: uuid::Uuid, keys: &KeyRing, address: SocketAddr) -> WorkerRow {
    let reached = || {
        if !address.ip().is_unspecified() {
            return Some(format!("http://{address}"));
        }
        let machine = config::machine();
        (!machine.is_empty()).then(|| format!("http://{machine}:{}", address.port()))
    };
    WorkerRow {
        id,
        name: ctx.settings.name.to_string(),
        groups: ctx.settings.groups.iter().map(ToString::to_string).collect(),
        slots: i32::try_from(ctx.settings.slots).unwrap_or(i32::MAX),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        stores: ctx.stores.keys().map(ToString::to_string).collect(),
        key_ids: keys.key_ids().map(str::to_owned).collect(),
        transfer_url: ctx.settings.transfer_url.clone().or_else(reached),
    }
}
