//! record → event: the relay.
use shared::{config::Config, id::InstallationId, shutdown::Shutdown};
/// Starts the relay.
pub fn start(_config: &Config, _installation: InstallationId, _shutdown: &Shutdown) {}
