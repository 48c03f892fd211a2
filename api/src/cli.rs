//! The commands: serve, migrate, admin create, config check, permissions.

use std::{io::Read, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use shared::{
    admin::{AdminName, Role},
    config::{Config, Sources},
    db::{admins, audit, migrate, pool},
    id::AdminId,
    queue,
    shutdown::Shutdown,
    telemetry,
};

use crate::{app::App, auth::password::Passwords, openapi, rbac};

#[derive(Debug, Parser)]
#[command(name = "holdfast-api", about = "Holdfast's control API")]
pub struct Cli {
    /// The TOML file; else `HOLDFAST_CONFIG` names one.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API until SIGTERM or Ctrl-C.
    Serve,
    /// Apply migrations and grants, as the owner role.
    Migrate,
    /// Print the description of the API, OpenAPI 3.1. Needs no configuration.
    #[command(name = "openapi")]
    OpenApi,
    /// Manage admins.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print who may do what, as docs/permissions.md has it.
    Permissions,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Create an admin with the global role `super`. The password comes from a file or standard input.
    Create {
        #[arg(long)]
        name: String,
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what is wrong, or show what holds, with its origin and without secrets.
    Check,
}

/// Runs one command.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    if matches!(cli.command, Command::Permissions) {
        return print(rbac::table::markdown().trim_end_matches('\n'));
    }
    if matches!(cli.command, Command::OpenApi) {
        return print(openapi::DOCUMENT.json());
    }
    let config = Config::load(&Sources::of_process(cli.config))?;
    match cli.command {
        Command::Serve => serve(&config).await,
        Command::Migrate => migrate_all(&config).await,
        Command::OpenApi | Command::Permissions => Ok(()),
        Command::Admin(AdminCommand::Create { name, password_file }) => {
            create_admin(&config, &name, &read_password(password_file)?).await
        }
        Command::Config(ConfigCommand::Check) => {
            config.for_api()?;
            print(&serde_json::to_string_pretty(&config.effective())?)
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}").context("standard output is closed")
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    telemetry::init(&config.telemetry)?;
    let app = App::build(config)?;
    let listener = tokio::net::TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("http.listen: {} cannot be listened on", config.http.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let shutdown = Shutdown::new();
    shutdown.listen()?;
    app.serve(listener, shutdown.soft().clone()).await.context("serving ended")
}

async fn migrate_all(config: &Config) -> anyhow::Result<()> {
    config.for_migrate()?;
    let url = config.database.owner_url.as_ref().map_or("", |url| url.expose_secret());
    let owner =
        pool::connect(url, 2, "holdfast-api/migrate").await.context("database.owner_url cannot be connected to")?;
    queue::setup(&owner).await.context("the queue's own tables were not set up")?;
    let id = migrate::migrate(&owner, &config.database.app_role).await?;
    owner.close().await;
    print(&format!("migrated; this installation is {id}"))
}

fn read_password(file: Option<PathBuf>) -> anyhow::Result<SecretString> {
    let mut text = String::new();
    match file {
        Some(path) => {
            text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        }
        None => {
            std::io::stdin().take(4096).read_to_string(&mut text).context("standard input cannot be read")?;
        }
    }
    Ok(SecretString::from(text.trim_end_matches(['\n', '\r']).to_owned()))
}

async fn create_admin(config: &Config, name: &str, password: &SecretString) -> anyhow::Result<()> {
    let name = AdminName::parse(name)?;
    let url = config.database.url.as_ref().or(config.database.owner_url.as_ref()).context("database.url is missing")?;
    let hash = Passwords::new()?.hash_new(password.clone(), name.as_str()).await.context("the password")?;
    let database = pool::connect(url.expose_secret(), 1, "holdfast-api/admin")
        .await
        .context("the database cannot be connected to")?;
    let mut tx = database.begin().await?;
    let id = AdminId::generate();
    if let Err(error) = admins::insert(&mut tx, id, &name, &hash).await {
        if error.constraint() == Some("admins_name_key") {
            bail!("there is an admin of that name already");
        }
        return Err(error.into());
    }
    admins::grant(&mut tx, id, Role::Super, None, None).await?;
    let entry = audit::Entry {
        admin_name: Some("holdfast-api admin create"),
        action: "admin.create",
        resource_type: Some("admin"),
        resource_id: Some(id.to_string()),
        ..audit::Entry::default()
    };
    audit::insert(&mut tx, &entry).await?;
    tx.commit().await?;
    print(&format!("created admin {name} ({id}) with the role super"))
}
