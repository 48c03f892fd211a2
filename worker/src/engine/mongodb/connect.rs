//! Sessions of our own on a `MongoDB` server.

use std::{path::Path, sync::Arc, time::Duration};

use mongodb::{
    Client, Database,
    bson::doc,
    options::{AuthMechanism, ClientOptions, Credential, ServerAddress, Tls, TlsOptions},
};
use secrecy::ExposeSecret as _;
use shared::{
    name::DatabaseName,
    server::{Auth, MongoUri},
};

use super::{
    super::{Connection, EngineError, ErrorCode, TlsMode, postgres::SYSTEM_CA, secrets::SecretDir},
    classify::failed,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of a server, all of whose sessions carry the job's tag.
#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    /// The CA file: the driver reads it again for each host of a replica set that it learns of.
    _dir: Option<Arc<SecretDir>>,
}

impl Session {
    /// The driver's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// One database.
    pub fn database(&self, name: &DatabaseName) -> Database {
        self.client.database(name.as_str())
    }

    /// The database of the server's own commands.
    pub fn admin(&self) -> Database {
        self.client.database("admin")
    }
}

/// Connects and asks for a sign of life, within 10 s.
pub(super) async fn connect(at: &Connection, run_dir: &Path) -> Result<Session, EngineError> {
    let (options, dir) = options(at, run_dir).await?;
    let what = format!("connecting to {}", place(at));
    let client = Client::with_options(options).map_err(failed(&what))?;
    let session = Session { client, _dir: dir.map(Arc::new) };
    let answer = session.client.database(at.maintenance_database.as_str()).run_command(doc! { "ping": 1 }).await;
    answer.map_err(failed(&what))?;
    Ok(session)
}

/// As messages call the server.
pub(super) fn place(at: &Connection) -> String {
    match &at.mongodb.uri {
        Some(uri) => uri.as_str().to_owned(),
        None => format!("{}:{}", at.host, at.port),
    }
}

async fn options(at: &Connection, run_dir: &Path) -> Result<(ClientOptions, Option<SecretDir>), EngineError> {
    let mut options = if let Some(uri) = &at.mongodb.uri {
        // A name that resolves to hosts is resolved here.
        ClientOptions::parse(without_authentication(uri)).await.map_err(failed("reading the uri"))?
    } else {
        let host = ServerAddress::Tcp { host: at.host.to_string(), port: Some(at.port) };
        // This very host, and not others that it may know of and that nobody has named.
        ClientOptions::builder().hosts(vec![host]).direct_connection(true).build()
    };
    options.app_name = Some(at.session.to_string());
    options.server_selection_timeout = Some(CONNECT_TIMEOUT);
    options.connect_timeout = Some(CONNECT_TIMEOUT);
    options.max_pool_size = Some(16);
    options.credential = credential(at)?;
    let (tls, dir) = tls(at, run_dir)?;
    options.tls = Some(tls);
    Ok((options, dir))
}

/// The driver does not take these without a user, and the user is not the string's.
fn without_authentication(uri: &MongoUri) -> String {
    let (place, options) = uri.as_str().split_once('?').unwrap_or((uri.as_str(), ""));
    let kept: Vec<&str> =
        options.split('&').filter(|option| !option.to_ascii_lowercase().starts_with("auth")).collect();
    format!("{}/?{}", place.trim_end_matches('/'), kept.join("&"))
}

fn credential(at: &Connection) -> Result<Option<Credential>, EngineError> {
    if at.mongodb.auth == Auth::None {
        return Ok(None);
    }
    let option = |name| at.mongodb.uri.as_ref().and_then(|uri| uri.option(name));
    let mechanism = match option("authMechanism") {
        None => None,
        Some("SCRAM-SHA-1") => Some(AuthMechanism::ScramSha1),
        Some("SCRAM-SHA-256") => Some(AuthMechanism::ScramSha256),
        Some(other) => {
            let problem =
                format!("the server's uri asks for authMechanism {other}: SCRAM-SHA-1 and SCRAM-SHA-256 are known");
            return Err(EngineError::new(ErrorCode::InvalidRequest, problem));
        }
    };
    let mut credential = Credential::default();
    credential.username = Some(at.user.to_string());
    credential.password = Some(at.password.expose_secret().to_owned());
    credential.source = Some(auth_database(at).to_owned());
    credential.mechanism = mechanism;
    Ok(Some(credential))
}

/// Where the user is defined: `authSource` of the URI, else the maintenance database, `admin` by default.
pub(super) fn auth_database(at: &Connection) -> &str {
    let named = at.mongodb.uri.as_ref().and_then(|uri| uri.option("authSource"));
    named.unwrap_or(at.maintenance_database.as_str())
}

fn tls(at: &Connection, run_dir: &Path) -> Result<(Tls, Option<SecretDir>), EngineError> {
    let mut options = TlsOptions::default();
    match at.tls {
        TlsMode::Disable => return Ok((Tls::Disabled, None)),
        TlsMode::Prefer => {
            let problem = "MongoDB negotiates no TLS: the server's tls_mode must be disable, require or verify_full";
            return Err(EngineError::new(ErrorCode::InvalidRequest, problem));
        }
        TlsMode::Require => options.allow_invalid_certificates = Some(true),
        TlsMode::VerifyCa | TlsMode::VerifyFull => {}
    }
    let Some(pem) = at.ca_pem.as_ref().filter(|_| at.tls.verifies()) else {
        options.ca_file_path = at.tls.verifies().then(|| SYSTEM_CA.into());
        return Ok((Tls::Enabled(options), None));
    };
    let unwritten = |error| {
        EngineError::new(ErrorCode::Internal, "the file of the server's CA could not be written").with_source(error)
    };
    let dir = SecretDir::create(run_dir, &at.session.to_string()).map_err(unwritten)?;
    options.ca_file_path = Some(dir.write("ca.pem", pem.as_bytes()).map_err(unwritten)?);
    Ok((Tls::Enabled(options), Some(dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authentication_is_not_the_strings_matter() {
        let uri = |text: &str| without_authentication(&MongoUri::parse(text).unwrap());
        assert_eq!(uri("mongodb://a,b:2/?authSource=x&replicaSet=r"), "mongodb://a,b:2/?replicaSet=r");
        assert_eq!(uri("mongodb+srv://a"), "mongodb+srv://a/?");
    }
}
