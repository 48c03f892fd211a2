//! Whether the restore tool that would be used gets on with the save and with the server.

use shared::manifest::Manifest;

use super::{super::super::clients::Clients, report::Findings, server::Server};

/// From this version on `pg_restore` sets `transaction_timeout`, which older servers do not know: it fails there.
const TRANSACTION_TIMEOUT: u32 = 17;

pub(super) fn check(clients: &Clients, server: &Server, manifest: &Manifest, found: &mut Findings) {
    match clients.for_save(manifest.tool_major) {
        Err(error) => found.error(
            "client_too_old",
            error.to_string(),
            "Install the client programs of that major version, or newer ones, on the worker.",
        ),
        Ok(client) if client.major >= TRANSACTION_TIMEOUT && server.major() < TRANSACTION_TIMEOUT => found.error(
            "server_lacks_setting",
            format!(
                "pg_restore {} sets transaction_timeout, which server {} does not know; the save was made by the tools of {}",
                client.version(),
                server.version,
                manifest.tool_major
            ),
            "Restore into a server of version 17 or above, or choose a save that was made by tools of version 16 or below.",
        ),
        Ok(_) => {}
    }
    let saved = manifest.server_version.split(['.', ' ']).next().and_then(|major| major.parse::<u32>().ok());
    if let Some(saved) = saved.filter(|saved| *saved > server.major()) {
        found.warning(
            "server_older_than_save",
            format!("the save is of a server of version {saved}, this one is {}", server.version),
            "What that version has new, and the save uses, will fail; the restore then changes nothing.",
        );
    }
}
