//! The message broker of a service: which queues go with a wipe, and what it was made of.

pub mod definitions;
pub mod delete;
pub mod get;
pub mod put;

use chrono::{DateTime, Utc};
use shared::{
    broker::ManagementUrl,
    db::brokers::BrokerRow,
    id::{CredentialId, ServiceId},
    name::Slug,
};

use crate::{error::ApiError, view::view};

view! {
    /// A service's broker as the API shows it.
    pub struct Broker of BrokerRow {
        service_id: ServiceId,
        /// Where its management answers.
        url: ManagementUrl,
        /// The virtual host that the service uses.
        #[schema(example = "/")]
        vhost: String,
        /// Whose user the management is asked as.
        credential_id: CredentialId,
        /// PEM of whom to trust beside the system's own authorities.
        tls_ca_pem: Option<String>,
        /// Names of the queues that are purged when the service is wiped, with `*` and `?`.
        #[schema(example = json!(["items.*"]))]
        queues: Vec<String>,
        /// Whose workers can reach it.
        #[schema(example = "default")]
        worker_group: Slug,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

/// The service names none.
fn missing() -> ApiError {
    ApiError::NotFound("broker")
}
