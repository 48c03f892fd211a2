//! Connection strings of `MongoDB` servers: hosts and options, and nothing secret. Who connects is the credential's matter,
//! how the connection is protected the TLS mode's, and which database the target's.

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::name::HostName;

/// Options that a connection string may carry, as they are written; case does not matter.
const OPTIONS: &[&str] = &[
    "replicaSet",
    "authSource",
    "authMechanism",
    "directConnection",
    "readPreference",
    "srvServiceName",
    "srvMaxHosts",
    "loadBalanced",
];

/// A `mongodb://` or `mongodb+srv://` string without user, password and database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(value_type = String, pattern = r"^mongodb(\+srv)?://[^@]+$", examples("mongodb://a.example.org:27017,b.example.org/?replicaSet=rs0"))
)]
#[serde(try_from = "String", into = "String")]
pub struct MongoUri(String);

/// Why a connection string was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("must begin with mongodb:// or mongodb+srv://")]
    Scheme,
    #[error("carries a user or a password: give them as the credential of the targets, and the hosts alone here")]
    UserInfo,
    #[error("names a database: the targets do")]
    Database,
    #[error("has the host {0:?}, which is none: give names or addresses, with a port where it is not 27017")]
    Host(String),
    #[error("must name one host without a port, as it begins with mongodb+srv://")]
    Srv,
    #[error("has the option {0:?}: tls_mode and tls_ca_pem say how the connection is protected")]
    Tls(String),
    #[error("has the option {option:?}, which it may not have: there are {}", OPTIONS.join(", "))]
    Option { option: String },
    #[error("is longer than 2000 characters, or holds a space or a control character")]
    Text,
}

impl MongoUri {
    /// Parses the text; the error says what is wrong with it, and quotes nothing that could be a password.
    pub fn parse(text: impl Into<String>) -> Result<Self, UriError> {
        let text = text.into();
        if text.len() > 2000 || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(UriError::Text);
        }
        let is_srv = text.starts_with("mongodb+srv://");
        let rest = text.strip_prefix("mongodb://").or_else(|| text.strip_prefix("mongodb+srv://"));
        let rest = rest.ok_or(UriError::Scheme)?;
        // Wherever it stands: a password with a slash in it would end the authority early.
        if rest.contains('@') || rest.to_ascii_lowercase().contains("%40") {
            return Err(UriError::UserInfo);
        }
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
        if !database.is_empty() {
            return Err(UriError::Database);
        }
        for host in hosts.split(',') {
            let (_, port) = host_and_port(host).ok_or_else(|| UriError::Host(host.to_owned()))?;
            if is_srv && (port.is_some() || host != hosts) {
                return Err(UriError::Srv);
            }
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let name = option.split('=').next().unwrap_or_default();
            if ["tls", "ssl"].iter().any(|tls| name.to_ascii_lowercase().starts_with(tls)) {
                return Err(UriError::Tls(name.to_owned()));
            }
            if !OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(UriError::Option { option: name.to_owned() });
            }
        }
        Ok(Self(text))
    }

    /// The whole text: it holds no secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first host, and its port: what lists and messages call the server.
    #[must_use]
    pub fn first_host(&self) -> Option<(HostName, u16)> {
        self.hosts().next()
    }

    /// The hosts, and their ports.
    pub fn hosts(&self) -> impl Iterator<Item = (HostName, u16)> {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let hosts = rest.split(['/', '?']).next().unwrap_or_default();
        hosts
            .split(',')
            .filter_map(host_and_port)
            .map(|(host, port)| (host, port.unwrap_or(Engine::Mongodb.default_port())))
    }

    /// The value of an option, percent-encoding undone where it is plain.
    #[must_use]
    pub fn option(&self, wanted: &str) -> Option<&str> {
        let (_, options) = self.0.split_once('?')?;
        options.split('&').find_map(|option| {
            let (name, value) = option.split_once('=')?;
            name.eq_ignore_ascii_case(wanted).then_some(value)
        })
    }
}

fn host_and_port(text: &str) -> Option<(HostName, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => None,
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port != 0)?),
    };
    Some((HostName::parse(host).ok()?, port))
}

impl TryFrom<String> for MongoUri {
    type Error = UriError;

    fn try_from(text: String) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl From<MongoUri> for String {
    fn from(uri: MongoUri) -> String {
        uri.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_options_are_taken() {
        let uri = MongoUri::parse("mongodb://a:27018,b.example,[::1]:9/?replicaSet=rs0&authsource=admin").unwrap();
        assert_eq!(uri.first_host().unwrap(), (HostName::parse("a").unwrap(), 27018));
        assert_eq!((uri.option("replicaset"), uri.option("authSource")), (Some("rs0"), Some("admin")));
        let srv = MongoUri::parse("mongodb+srv://cluster.example.net").unwrap();
        assert_eq!(srv.first_host().unwrap().1, 27017);
    }

    #[test]
    fn a_user_or_a_password_is_refused_and_not_repeated() {
        for uri in
            ["mongodb://user:hunter2@h/", "mongodb://hunter2@h", "mongodb://u:hunter2%40h/x", "mongodb://u:hun/ter2@h"]
        {
            let error = MongoUri::parse(uri).unwrap_err();
            assert_eq!(error, UriError::UserInfo, "{uri}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn what_others_say_is_refused() {
        let refused = |uri: &str| MongoUri::parse(uri).unwrap_err();
        assert_eq!(refused("postgres://h"), UriError::Scheme);
        assert_eq!(refused("mongodb://h/shop"), UriError::Database);
        assert_eq!(refused("mongodb://h/?tlsInsecure=true"), UriError::Tls("tlsInsecure".to_owned()));
        assert_eq!(refused("mongodb://h/?appName=x"), UriError::Option { option: "appName".to_owned() });
        assert_eq!(refused("mongodb+srv://h:1/"), UriError::Srv);
        assert_eq!(refused("mongodb+srv://h,i/"), UriError::Srv);
        assert_eq!(refused("mongodb:///?replicaSet=x"), UriError::Host(String::new()));
        assert_eq!(refused("mongodb://h:0/"), UriError::Host("h:0".to_owned()));
        assert_eq!(refused("mongodb://h i/"), UriError::Text);
    }
}
