//! The message broker of a service, by its management over HTTP. Nothing here speaks to Holdfast's own.
//!
//! Names go into paths by their steps, each encoded whole. A name that is a step of paths itself (`..`) is none that can be asked
//! for: what makes the address would leave it out, and so name another thing.

use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use shared::broker::{ManagementUrl, is_addressable};

/// For one answer.
const ANSWER: Duration = Duration::from_mins(1);
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of one answer that are read.
const MOST: usize = 32 << 20;
/// Bytes of a refusal that are shown.
const SAID: usize = 300;

/// Why a broker could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("the broker's {0} is of no use")]
    Unusable(&'static str),
    #[error("no client for the broker's management can be made")]
    Client(#[source] reqwest::Error),
    #[error("the broker's management does not answer")]
    Unreachable(#[source] reqwest::Error),
    #[error("the broker's management does not take the credential")]
    Denied,
    #[error("the broker knows no such thing, or not for this user")]
    Missing,
    #[error("the broker's management answered {status}: {said}")]
    Refused { status: StatusCode, said: String },
    #[error("the broker's answer cannot be read: {0}")]
    Unreadable(String),
}

impl BrokerError {
    /// Whether another attempt would fail the same.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Unreachable(_) => false,
            Self::Refused { status, .. } => !status.is_server_error(),
            _ => true,
        }
    }

    /// Stable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unusable(_) | Self::Client(_) => "broker_unusable",
            Self::Unreachable(_) => "broker_unreachable",
            Self::Denied => "authentication_failed",
            Self::Missing => "broker_missing",
            Self::Refused { .. } => "broker_refused",
            Self::Unreadable(_) => "broker_unreadable",
        }
    }
}

/// A queue as the management lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Queue {
    pub name: String,
    /// By the broker's statistics, which are some seconds old. Absent for as long as there are none.
    #[serde(default)]
    pub messages: Option<u64>,
    #[serde(default)]
    pub exclusive: bool,
    /// `classic`, `quorum` or `stream`.
    #[serde(default, rename = "type")]
    pub kind: String,
}

impl Queue {
    /// Why it cannot be purged by anybody but its owner, or at all.
    #[must_use]
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.exclusive {
            Some("exclusive to a connection")
        } else if self.kind == "stream" {
            Some("a stream, which cannot be purged")
        } else if is_addressable(&self.name) {
            None
        } else {
            Some("a name that no path can hold")
        }
    }
}

/// The management of a broker, as one user sees one virtual host.
#[derive(Debug)]
pub struct Broker {
    http: Client,
    base: Url,
    vhost: String,
    user: String,
    password: SecretString,
}

impl Broker {
    /// Nothing is asked yet.
    pub fn new(
        url: &ManagementUrl,
        vhost: &str,
        ca_pem: Option<&str>,
        user: &str,
        password: SecretString,
    ) -> Result<Self, BrokerError> {
        // The one TLS of the project. A second answer is refused, and says the same.
        rustls::crypto::ring::default_provider().install_default().ok();
        let base = Url::parse(url.as_str()).map_err(|_| BrokerError::Unusable("url"))?;
        if !is_addressable(vhost) {
            return Err(BrokerError::Unusable("vhost"));
        }
        let mut http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .timeout(ANSWER);
        if let Some(pem) = ca_pem {
            let trusted = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(BrokerError::Client)?;
            http = http.tls_certs_merge(trusted);
        }
        let http = http.build().map_err(BrokerError::Client)?;
        Ok(Self { http, base, vhost: vhost.to_owned(), user: user.to_owned(), password })
    }

    /// The queues of the virtual host, by name.
    pub async fn queues(&self) -> Result<Vec<Queue>, BrokerError> {
        let mut url = self.place(&["queues", &self.vhost])?;
        url.set_query(Some("columns=name,messages,exclusive,type"));
        let found = read(self.send(Method::GET, url).await?).await?;
        let mut queues: Vec<Queue> =
            serde_json::from_slice(&found).map_err(|error| BrokerError::Unreadable(error.to_string()))?;
        queues.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(queues)
    }

    /// Takes every message that is ready out of a queue. A queue that is gone has none.
    pub async fn purge(&self, queue: &str) -> Result<(), BrokerError> {
        if !is_addressable(queue) {
            return Err(BrokerError::Unusable("queue name"));
        }
        let url = self.place(&["queues", &self.vhost, queue, "contents"])?;
        match self.send(Method::DELETE, url).await {
            Ok(_) | Err(BrokerError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the virtual host is made of, as the broker exports it.
    pub async fn definitions(&self) -> Result<Value, BrokerError> {
        let found = read(self.send(Method::GET, self.place(&["definitions", &self.vhost])?).await?).await?;
        serde_json::from_slice(&found).map_err(|error| BrokerError::Unreadable(error.to_string()))
    }

    fn place(&self, steps: &[&str]) -> Result<Url, BrokerError> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| BrokerError::Unusable("url"))?.pop_if_empty().push("api").extend(steps);
        Ok(url)
    }

    async fn send(&self, method: Method, url: Url) -> Result<Response, BrokerError> {
        let request = self.http.request(method, url).basic_auth(&self.user, Some(self.password.expose_secret()));
        let response = request.send().await.map_err(|error| BrokerError::Unreachable(error.without_url()))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(BrokerError::Denied),
            StatusCode::NOT_FOUND => Err(BrokerError::Missing),
            _ => {
                let said = read(response).await.unwrap_or_default();
                let said: String =
                    String::from_utf8_lossy(&said).chars().take(SAID).filter(|c| !c.is_control()).collect();
                // Of definitions it says so of a virtual host that is not there.
                if said.contains("vhost_not_found") {
                    return Err(BrokerError::Missing);
                }
                Err(BrokerError::Refused { status, said })
            }
        }
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, BrokerError> {
    let mut all = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| BrokerError::Unreachable(error.without_url()))? {
        if all.len() + chunk.len() > MOST {
            return Err(BrokerError::Unreadable(format!("it has more than {MOST} bytes")));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// What of definitions is kept: what the virtual host is made of, without users, permissions and parameters, which hold
/// passwords of other brokers. In one form, whatever order the broker lists things in.
#[must_use]
pub fn canonical(definitions: &Value) -> Value {
    let mut kept = serde_json::Map::new();
    for part in ["rabbit_version", "exchanges", "queues", "bindings", "policies"] {
        let Some(found) = definitions.get(part) else { continue };
        let found = match found {
            Value::Array(all) => {
                let mut all: Vec<Value> = all.iter().map(sorted).collect();
                all.sort_by_cached_key(ToString::to_string);
                Value::Array(all)
            }
            other => sorted(other),
        };
        kept.insert(part.to_owned(), found);
    }
    Value::Object(kept)
}

/// With the members of objects in the order of their names.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_unstable();
            let member = |name: &&String| members.get(*name).map(|value| ((*name).clone(), sorted(value)));
            Value::Object(names.iter().filter_map(member).collect())
        }
        Value::Array(all) => Value::Array(all.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn broker(url: &str, vhost: &str) -> Result<Broker, BrokerError> {
        Broker::new(&ManagementUrl::parse(url).unwrap(), vhost, None, "u", SecretString::from("p"))
    }

    #[test]
    fn a_name_is_one_step_of_a_path_or_none() {
        let at = broker("https://broker.example.org/rabbit", "/").unwrap();
        let place = |queue: &str| at.place(&["queues", &at.vhost, queue, "contents"]).unwrap().to_string();
        let front = "https://broker.example.org/rabbit/api/queues/%2F";
        assert_eq!(place("a/b"), format!("{front}/a%2Fb/contents"));
        assert_eq!(place("%2e%2e"), format!("{front}/%252e%252e/contents"));
        assert_eq!(place("a?b#c d"), format!("{front}/a%3Fb%23c%20d/contents"));
        assert!(broker("https://a", "..").is_err() && broker("https://a", "").is_err());
    }

    #[test]
    fn what_others_own_or_no_path_can_name_is_left() {
        let queue = |name: &str, exclusive, kind: &str| Queue {
            name: name.to_owned(),
            messages: None,
            exclusive,
            kind: kind.to_owned(),
        };
        assert_eq!(queue("lots", false, "classic").obstacle(), None);
        assert_eq!(queue("lots", false, "quorum").obstacle(), None);
        assert!(queue("lots", true, "classic").obstacle().is_some());
        assert!(queue("lots", false, "stream").obstacle().is_some());
        assert!(queue("..", false, "classic").obstacle().is_some());
    }

    #[test]
    fn definitions_are_the_same_in_whatever_order_and_without_what_is_secret() {
        let one = json!({
            "rabbit_version": "3.10.8",
            "users": [{ "name": "u", "password_hash": "x" }],
            "parameters": [{ "value": { "uri": "amqp://u:secret@elsewhere" } }],
            "permissions": [],
            "queues": [{ "name": "b", "durable": true }, { "durable": true, "name": "a", "arguments": { "y": 1, "x": [2, 1] } }],
        });
        let other = json!({
            "queues": [{ "arguments": { "x": [2, 1], "y": 1 }, "name": "a", "durable": true }, { "durable": true, "name": "b" }],
            "rabbit_version": "3.10.8",
        });
        assert_eq!(canonical(&one).to_string(), canonical(&other).to_string());
        assert!(!canonical(&one).to_string().contains("secret") && !canonical(&one).to_string().contains("users"));
        let turned = json!({ "queues": [{ "name": "a", "arguments": { "x": [1, 2] } }] });
        assert_ne!(canonical(&turned), canonical(&other));
    }
}
