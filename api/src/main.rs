//! `holdfast-api`: the control API and the commands of whoever operates it.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match api::cli::run(api::cli::Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}
