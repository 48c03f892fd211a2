//! Whether a restore tool of this worker gets on with the save and with the server.

use shared::manifest::Manifest;

use super::{
    super::super::{
        ErrorCode,
        clients::{Clients, Restorable},
    },
    report::Findings,
    server::Server,
};

pub(super) fn check(clients: &Clients, server: &Server, manifest: &Manifest, found: &mut Findings) {
    let saved = Restorable::of(manifest.tool_major, &manifest.server_version);
    let Err(error) = clients.for_restore(&saved, server.major()) else { return };
    let code = match error.code() {
        ErrorCode::ClientTooOld => "client_too_old",
        _ if server.major() < saved.server_major => "server_older_than_save",
        _ if error.to_string().contains("transaction_timeout") => "server_lacks_setting",
        code => code.as_str(),
    };
    found.error(code, error.to_string(), error.hint());
}
