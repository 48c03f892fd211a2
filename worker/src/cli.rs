//! The worker's command line.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use secrecy::ExposeSecret;
use shared::{
    config::{Config, Sources},
    secret, telemetry,
};

use crate::{adopt, app::App, engine::process::Launcher, rebuild};

/// Holdfast's worker: runs the jobs that the API enqueues.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// The configuration file; `.env` and `HOLDFAST__SECTION__KEY` overlay it.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run jobs until stopped (the default).
    Run,
    /// Take over a store that carries another installation's marker, which is gone for good.
    Adopt {
        /// The store, by its name in the configuration.
        #[arg(long)]
        store: String,
        /// Do it. Without this, only whose store it is is shown.
        #[arg(long)]
        yes: bool,
    },
    /// Make services, servers, targets and saves anew of what a store holds, after Holdfast's own database was lost.
    RebuildCatalogue {
        /// The store, by its name in the configuration.
        #[arg(long)]
        store: String,
        /// Only look and tell.
        #[arg(long)]
        dry_run: bool,
    },
    /// Make a key pair: the private key for the workers' ring goes to a new file, the public key is printed.
    Keys {
        /// Where to write the private key. An existing file is never overwritten.
        #[arg(long)]
        private: PathBuf,
    },
}

/// Does what the command line says.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        None | Some(Command::Run) => work(cli.config),
        Some(Command::Adopt { store, yes }) => take_over(cli.config, &store, yes),
        Some(Command::RebuildCatalogue { store, dry_run }) => rebuild_catalogue(cli.config, &store, dry_run),
        Some(Command::Keys { private }) => keys(&private),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut err = std::io::stderr().lock();
            // Nothing is left to tell it to if stderr is gone.
            drop(writeln!(err, "holdfast-worker: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn work(file: Option<PathBuf>) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(file))?;
    telemetry::init(&config.telemetry)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let app = App::start(&config, Launcher::default()).await?;
        app.shutdown.listen()?;
        app.finished().await;
        tracing::info!("worker stopped");
        Ok(())
    })
}

fn take_over(file: Option<PathBuf>, store: &str, sure: bool) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(file))?;
    telemetry::init(&config.telemetry)?;
    let adopted = tokio::runtime::Runtime::new()?.block_on(adopt::adopt(&config, store, sure))?;
    writeln!(std::io::stdout().lock(), "{}", adopted.told)?;
    Ok(())
}

fn rebuild_catalogue(file: Option<PathBuf>, store: &str, dry_run: bool) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(file))?;
    telemetry::init(&config.telemetry)?;
    let mut out = std::io::stdout();
    tokio::runtime::Runtime::new()?.block_on(rebuild::rebuild(&config, store, dry_run, &mut out))
}

fn keys(private: &PathBuf) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let (secret, public) = secret::generate_keypair();
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(private)?;
    writeln!(file, "{}", secret.expose_secret())?;
    file.sync_all()?;
    writeln!(std::io::stdout().lock(), "{public}")?;
    Ok(())
}
