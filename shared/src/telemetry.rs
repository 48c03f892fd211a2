//! Logs: JSON or text lines on standard error, filtered as configured; panics are logged too.

use std::{error::Error, fmt, panic};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Telemetry};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the log filter cannot be parsed")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    #[error("logging was set up already")]
    Twice(#[source] Box<dyn Error + Send + Sync>),
}

impl TelemetryError {
    /// Both stay.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        true
    }
}

/// An error with all its causes, for a line of the log: JSON lines show of an error's own value the outermost alone.
#[derive(Clone, Copy)]
pub struct Causes<'a>(pub &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Sets up logging and the panic hook for the whole process. Call it once, first thing after the configuration.
pub fn init(telemetry: &Telemetry) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&telemetry.filter).map_err(TelemetryError::Filter)?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match telemetry.log_format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.try_init(),
    }
    .map_err(TelemetryError::Twice)?;
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        tracing::error!(panic.place = place, panic.message = message, "panicked");
    }));
    Ok(())
}
