//! What is done with the broker of a service: its queues are purged after a wipe, and what it is made of is kept with a backup.

pub mod definitions;
pub mod purge;

use shared::{
    db::brokers::{self, BrokerWork},
    id::ServiceId,
    job::Problem,
};

use super::{Job, JobError, chain};
use crate::broker::{Broker, BrokerError};

/// The broker that the service names now, and the row that names it.
async fn open(job: &Job, service: ServiceId) -> Result<(Broker, BrokerWork), JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let work = brokers::work(&mut conn, service)
        .await?
        .ok_or_else(|| JobError::abort("broker_missing", "the service names no broker any more", "Name it again."))?;
    drop(conn);
    let password = work.credential.open(&job.ctx.keys).map_err(|error| {
        JobError::abort(
            "credential_unreadable",
            format!("the credential of the broker cannot be opened by this worker: {error}"),
            "Give this worker the private key that the credential was sealed to, or store the credential again.",
        )
    })?;
    let broker = Broker::new(&work.url, &work.vhost, work.tls_ca_pem.as_deref(), &work.credential.user_name, password)
        .map_err(|error| failed(&error))?;
    Ok((broker, work))
}

/// What is known about the way there.
fn warnings(work: &BrokerWork) -> Vec<&'static str> {
    let clear = "the connection to the broker's management is not encrypted: its password can be read on the network";
    work.url.is_clear().then_some(clear).into_iter().collect()
}

fn failed(error: &BrokerError) -> JobError {
    let (code, message) = (error.code(), chain(error));
    let hint = match error {
        BrokerError::Unusable(_) | BrokerError::Client(_) => "Correct the service's broker.",
        BrokerError::Unreachable(_) => "Check that the broker's management runs, and that this worker reaches it.",
        BrokerError::Denied => {
            "Check user and password, that the user has a tag such as management (for definitions: administrator), and its permissions on the virtual host."
        }
        BrokerError::Missing => "Check the virtual host, and that the user may see it.",
        BrokerError::Refused { .. } | BrokerError::Unreadable(_) => "See the broker's log.",
    };
    if error.is_permanent() {
        JobError::Abort(Problem::permanent(code, message, hint))
    } else {
        JobError::Retry(Problem::retryable(code, message, hint))
    }
}
