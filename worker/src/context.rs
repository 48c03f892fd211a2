//! What every handler works with: pools, stores, the engine, keys, settings. Built once by `app.rs`.

use std::{collections::BTreeMap, sync::Arc};

use shared::{
    config,
    db::{DbError, claim::Fence, work::TargetWork},
    id::InstallationId,
    name::{DatabaseName, HostName, Slug, UserName},
    secret::{KeyRing, SecretError},
    server::{Auth, MongoMode, MongoUri},
};
use sqlx::PgPool;

use crate::{
    engine::{Connection, Engine, EngineKind, MongoAccess, SessionTag, TlsMode, mongodb::Mongodb, postgres::Postgres},
    signing::Signer,
    store::Store,
    stream::Encryption,
};

/// The stores of the configuration, by name.
pub type Stores = BTreeMap<Slug, Arc<dyn Store>>;

/// How what goes into a store is packed, above the store itself.
#[derive(Debug, Clone, Default)]
pub struct Packing {
    pub encryption: Option<Arc<Encryption>>,
    /// The most bytes of one object of a dump that were asked for.
    pub object_bytes: Option<u64>,
}

/// Shared by all jobs of a worker process.
#[derive(Debug)]
pub struct Context {
    pub installation: InstallationId,
    /// For short transactions; never held while bytes flow.
    pub pool: PgPool,
    /// For beats alone.
    pub beats: PgPool,
    pub stores: Stores,
    /// By store; one that is absent packs nothing.
    pub packing: BTreeMap<Slug, Packing>,
    pub postgres: Postgres,
    pub mongodb: Mongodb,
    pub keys: KeyRing,
    /// Signs the manifests of the saves made here.
    pub signer: Signer,
    pub settings: config::Worker,
    pub gc: config::Gc,
    /// What holds for jobs that Holdfast asks of itself.
    pub jobs: config::Jobs,
    pub transfer: config::Transfer,
    /// Where drills restore.
    pub scratch: config::ScratchServers,
}

/// Why a target cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("target {0:?} holds a value this version cannot use: {1}")]
    Unusable(String, String),
    #[error("the credential of target {target:?} cannot be opened by this worker")]
    Credential {
        target: String,
        #[source]
        source: SecretError,
    },
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Context {
    /// How this store's bytes are encrypted, as far as this worker knows.
    pub fn encryption(&self, store: &Slug) -> Option<&Arc<Encryption>> {
        self.packing.get(store).and_then(|packing| packing.encryption.as_ref())
    }

    /// What dumps databases of this kind.
    pub fn engine(&self, kind: EngineKind) -> &dyn Engine {
        match kind {
            EngineKind::Postgres => &self.postgres,
            EngineKind::Mongodb => &self.mongodb,
        }
    }

    /// The connection under which a job works on a target of `PostgreSQL`; any other is refused.
    pub fn connection(&self, work: &TargetWork, fence: Fence) -> Result<(Connection, DatabaseName), TargetError> {
        if work.engine != "postgres" {
            let problem = format!("this kind of job is not for targets of engine {:?}", work.engine);
            return Err(TargetError::Unusable(work.target.clone(), problem));
        }
        self.connection_to_any(work, fence)
    }

    /// Opens the credential and makes the connection under which a job works on a target of any engine.
    pub fn connection_to_any(
        &self,
        work: &TargetWork,
        fence: Fence,
    ) -> Result<(Connection, DatabaseName), TargetError> {
        let unusable = |problem: String| TargetError::Unusable(work.target.clone(), problem);
        let password = work
            .credential()
            .open(&self.keys)
            .map_err(|source| TargetError::Credential { target: work.target.clone(), source })?;
        let engine = match work.engine.as_str() {
            "postgres" => EngineKind::Postgres,
            "mongodb" => EngineKind::Mongodb,
            other => return Err(unusable(format!("engine {other:?}"))),
        };
        let uri = work.uri.clone().map(MongoUri::parse).transpose().map_err(|e| unusable(e.to_string()))?;
        let auth = match work.auth.as_str() {
            "password" => Auth::Password,
            "none" => Auth::None,
            other => return Err(unusable(format!("authentication {other:?}"))),
        };
        let mode = match work.mongo_mode.as_str() {
            "native" => MongoMode::Native,
            "tools" => MongoMode::Tools,
            other => return Err(unusable(format!("mode {other:?}"))),
        };
        let tls = match work.tls_mode.as_str() {
            "disable" => TlsMode::Disable,
            "prefer" => TlsMode::Prefer,
            "require" => TlsMode::Require,
            "verify_ca" => TlsMode::VerifyCa,
            "verify_full" => TlsMode::VerifyFull,
            other => return Err(unusable(format!("TLS mode {other:?}"))),
        };
        let database = DatabaseName::parse(work.database.clone()).map_err(|e| unusable(e.to_string()))?;
        let connection = Connection {
            engine,
            host: HostName::parse(work.host.clone()).map_err(|e| unusable(e.to_string()))?,
            port: u16::try_from(work.port).map_err(|e| unusable(e.to_string()))?,
            user: UserName::parse(work.user_name.clone()).map_err(|e| unusable(e.to_string()))?,
            password,
            tls,
            ca_pem: work.tls_ca_pem.clone(),
            maintenance_database: DatabaseName::parse(work.maintenance_database.clone())
                .map_err(|e| unusable(e.to_string()))?,
            mongodb: MongoAccess { uri, auth, mode },
            session: SessionTag { job: fence.job.0, epoch: fence.epoch },
            installation: self.installation.0,
        };
        Ok((connection, database))
    }
}
