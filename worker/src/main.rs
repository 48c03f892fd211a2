//! The worker's process: a child of it, or the worker itself.

use std::process::ExitCode;

use clap::Parser;
use worker::cli::{Cli, run};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Before any thread exists: a child sets limits on itself and becomes a tool.
    if args.next().is_some_and(|first| first == worker::engine::child::MARKER) {
        return worker::engine::child::main(args);
    }
    run(Cli::parse())
}
