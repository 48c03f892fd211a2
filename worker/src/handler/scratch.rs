//! The servers on which drills restore: which one is for a job, and how it is reached.

use std::{collections::BTreeSet, net::SocketAddr};

use secrecy::SecretString;
use shared::{
    config::{Scratch, ScratchServer},
    db::{jobs, work::TargetWork},
    name::{HostName, Slug, UserName},
    server::{Auth, MongoMode, MongoUri, TlsMode as Declared},
};

use super::{Job, JobError, chain};
use crate::engine::{Connection, EngineError, EngineKind, ErrorCode, MongoAccess, SessionTag, TlsMode};

/// A server that a drill may use.
#[derive(Debug, Clone)]
pub(super) struct ScratchPlace {
    pub(super) name: Slug,
    pub(super) at: Connection,
}

/// The scratch server for this job: that of its worker group, else one for all groups. Never the one that the target is on,
/// unless the configuration says that it may be.
pub(super) async fn choose(job: &Job, work: &TargetWork) -> Result<ScratchPlace, JobError> {
    let row = jobs::get(&mut *job.ctx.pool.acquire().await?, job.lease.fence.job).await?;
    let group = row.map(|row| row.worker_group).unwrap_or_default();
    let fits = |server: &&ScratchServer| server.engine().as_str() == work.engine;
    let of_group = |server: &ScratchServer| server.groups.iter().any(|name| name.as_str() == group);
    let servers = || job.ctx.scratch.iter().filter(|(_, server)| fits(server));
    let chosen = servers()
        .find(|(_, server)| of_group(server))
        .or_else(|| servers().find(|(_, server)| server.groups.is_empty()));
    let Some((name, server)) = chosen else {
        return Err(JobError::abort(
            "scratch_missing",
            format!("this worker has no scratch server for {} and worker group {group}", work.engine),
            format!(
                "Declare one in the configuration of every worker of the group: a table [scratch.<name>] with engine = {:?}, \
                 host, user and password (docs/verification.md).",
                work.engine
            ),
        ));
    };
    if !server.allow_same_server && is_same(server, work).await {
        return Err(JobError::abort(
            "scratch_is_target",
            format!("scratch server {name} at {}:{} is the server of the target itself", server.host, server.port),
            format!(
                "Give [scratch.{name}] another server; allow_same_server = true where a drill may disturb this one."
            ),
        ));
    }
    Ok(ScratchPlace { name: name.clone(), at: connection(job, server)? })
}

impl ScratchPlace {
    /// Whether it answers, and takes us.
    pub(super) async fn greet(&self, job: &Job) -> Result<(), JobError> {
        let (engine, cancel) = (job.ctx.engine(self.at.engine), &job.lease.cancel);
        let greeted = engine.end_older_sessions(&self.at, &self.at.maintenance_database, cancel).await;
        greeted.map(drop).map_err(|error| self.explained(error))
    }

    /// An error of a server that cannot be used tells whose setting to look at, and ends the job: nothing is wrong with the save.
    pub(super) fn explained(&self, error: EngineError) -> JobError {
        use ErrorCode::{
            AuthenticationFailed, ConnectionLost, DatabaseMissing, ServerUnreachable, TlsFailed, TooManyConnections,
        };
        let is_ours = matches!(
            error.code(),
            AuthenticationFailed
                | ConnectionLost
                | DatabaseMissing
                | ServerUnreachable
                | TlsFailed
                | TooManyConnections
        );
        if !is_ours {
            return error.into();
        }
        JobError::abort(
            "scratch_unreachable",
            format!(
                "scratch server {} at {}:{} cannot be used: {}",
                self.name,
                self.at.host,
                self.at.port,
                chain(&error)
            ),
            format!(
                "Start it, or correct [scratch.{}] in this worker's configuration; the save was not judged.",
                self.name
            ),
        )
    }
}

fn connection(job: &Job, server: &ScratchServer) -> Result<Connection, JobError> {
    let (engine, uri) = match &server.kind {
        Scratch::Postgres => (EngineKind::Postgres, None),
        Scratch::Mongodb(uri) => (EngineKind::Mongodb, uri.clone()),
    };
    let auth = if server.user.is_some() { Auth::Password } else { Auth::None };
    let nobody =
        || UserName::parse("nobody").map_err(|error| JobError::abort("internal", error.to_string(), "Report this."));
    Ok(Connection {
        engine,
        host: server.host.clone(),
        port: server.port,
        user: match &server.user {
            Some(user) => user.clone(),
            None => nobody()?,
        },
        password: server.password.clone().unwrap_or_else(|| SecretString::from(String::new())),
        tls: match server.tls_mode {
            Declared::Disable => TlsMode::Disable,
            Declared::Prefer => TlsMode::Prefer,
            Declared::Require => TlsMode::Require,
            Declared::VerifyCa => TlsMode::VerifyCa,
            Declared::VerifyFull => TlsMode::VerifyFull,
        },
        ca_pem: server.ca_pem.clone(),
        maintenance_database: server.maintenance_database.clone(),
        mongodb: MongoAccess { uri, auth, mode: MongoMode::Native },
        session: SessionTag { job: job.lease.fence.job.0, epoch: job.lease.fence.epoch },
        installation: job.ctx.installation.0,
    })
}

/// Whether both are one server: by name, or by an address that both names resolve to.
async fn is_same(server: &ScratchServer, work: &TargetWork) -> bool {
    let scratch: Vec<(String, u16)> = match &server.kind {
        Scratch::Mongodb(Some(uri)) => hosts(uri),
        _ => vec![(named(&server.host), server.port)],
    };
    let target = match work.uri.clone().map(MongoUri::parse) {
        Some(Ok(uri)) => hosts(&uri),
        _ => vec![(work.host.to_lowercase(), u16::try_from(work.port).unwrap_or_default())],
    };
    if scratch.iter().any(|host| target.contains(host)) {
        return true;
    }
    let (scratch, target) = (addresses(&scratch).await, addresses(&target).await);
    !scratch.is_disjoint(&target)
}

fn named(host: &HostName) -> String {
    host.to_string().to_lowercase()
}

fn hosts(uri: &MongoUri) -> Vec<(String, u16)> {
    uri.hosts().map(|(host, port)| (named(&host), port)).collect()
}

/// What does not resolve has none: connecting says so.
async fn addresses(hosts: &[(String, u16)]) -> BTreeSet<SocketAddr> {
    let mut all = BTreeSet::new();
    for (host, port) in hosts {
        if let Ok(found) = tokio::net::lookup_host((host.as_str(), *port)).await {
            all.extend(found);
        }
    }
    all
}
