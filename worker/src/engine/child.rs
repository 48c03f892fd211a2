//! What a child does to itself between its start and the tool: `holdfast-worker __child --parent=PID [limits] -- TOOL ARGS`.
//!
//! `main` calls [`main`] before any runtime or thread exists. Everything here is inherited through `exec`, so the tool runs
//! with the limits although it knows nothing of them (design §7, guarantees F5).

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::ExitCode,
};

use rustix::{
    fs::Mode,
    process::{Pid, Resource, Rlimit, Signal},
};

/// The first argument that makes the worker's binary behave as a child.
pub const MARKER: &str = "__child";

/// Exit status when the child could not prepare itself or the tool could not be executed; no `PostgreSQL` tool uses it.
pub const NOT_STARTED: u8 = 125;

/// Runs the child's side; `args` are those after [`MARKER`]. Returns only when the tool could not be started.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Err(problem) = run(args);
    // A failure to write is the last thing that can go wrong here, and nobody is left to tell.
    drop(writeln!(io::stderr(), "holdfast-child: {problem}"));
    ExitCode::from(NOT_STARTED)
}

#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("the argument {0:?} is not known")]
    Argument(OsString),
    #[error("no tool given")]
    NoTool,
    #[error("{0}: {1}")]
    Step(&'static str, io::Error),
    #[error("the worker ended before the tool was started")]
    Orphan,
}

#[derive(Debug, Default)]
struct Plan {
    parent: Option<i32>,
    open_files: Option<u64>,
    address_space: Option<u64>,
    file_size: Option<u64>,
    processes: Option<u64>,
    tool: OsString,
    args: Vec<OsString>,
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Plan, ChildError> {
    let mut args = args.into_iter();
    let mut plan = Plan::default();
    for argument in args.by_ref() {
        if argument == OsStr::new("--") {
            break;
        }
        let parsed = argument.to_str().and_then(|text| text.split_once('='));
        let known = match parsed {
            Some(("--parent", value)) => value.parse().map(|pid| plan.parent = Some(pid)).is_ok(),
            Some(("--open-files", value)) => value.parse().map(|n| plan.open_files = Some(n)).is_ok(),
            Some(("--address-space", value)) => value.parse().map(|n| plan.address_space = Some(n)).is_ok(),
            Some(("--file-size", value)) => value.parse().map(|n| plan.file_size = Some(n)).is_ok(),
            Some(("--processes", value)) => value.parse().map(|n| plan.processes = Some(n)).is_ok(),
            _ => false,
        };
        if !known {
            return Err(ChildError::Argument(argument));
        }
    }
    plan.tool = args.next().ok_or(ChildError::NoTool)?;
    plan.args = args.collect();
    Ok(plan)
}

fn run(args: impl IntoIterator<Item = OsString>) -> Result<Infallible, ChildError> {
    let step = |what: &'static str| move |error: rustix::io::Errno| ChildError::Step(what, error.into());
    let plan = parse(args)?;

    // The worker has already asked for a group of its own, before exec; this is for a child that was started by hand.
    if rustix::process::getpgrp() != rustix::process::getpid() {
        rustix::process::setpgid(None, None).map_err(step("setpgid"))?;
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("parent death signal"))?;
    // The worker may have died before the line above: then nobody would ever send the signal.
    if plan.parent.is_some_and(|pid| rustix::process::getppid().map(Pid::as_raw_nonzero).is_none_or(|p| p.get() != pid))
    {
        return Err(ChildError::Orphan);
    }
    limit(Resource::Core, Some(0)).map_err(step("core limit"))?;
    limit(Resource::Nofile, plan.open_files).map_err(step("open files limit"))?;
    limit(Resource::As, plan.address_space).map_err(step("address space limit"))?;
    limit(Resource::Fsize, plan.file_size).map_err(step("file size limit"))?;
    limit(Resource::Nproc, plan.processes).map_err(step("processes limit"))?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::thread::set_no_new_privs(true).map_err(step("no new privileges"))?;
    close_fds::set_fds_cloexec(3, &[]);

    #[expect(clippy::disallowed_methods, reason = "this is engine::process' other half: exec, not a new process")]
    let error = std::process::Command::new(&plan.tool).args(&plan.args).exec();
    Err(ChildError::Step("the tool could not be executed", error))
}

/// Lowers a limit; one that is already lower stays.
fn limit(resource: Resource, value: Option<u64>) -> rustix::io::Result<()> {
    let Some(value) = value else { return Ok(()) };
    let maximum = rustix::process::getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
    rustix::process::setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn what_follows_the_dashes_is_the_tools_alone() {
        let plan = parse(words("--parent=7 --open-files=64 -- /bin/tool --parent=9 -- -x")).unwrap();
        assert_eq!((plan.parent, plan.open_files), (Some(7), Some(64)));
        assert_eq!(plan.tool, "/bin/tool");
        assert_eq!(plan.args, words("--parent=9 -- -x"));
    }

    #[test]
    fn unknown_arguments_and_a_missing_tool_are_refused() {
        assert!(matches!(parse(words("--color=1 -- /bin/true")), Err(ChildError::Argument(_))));
        assert!(matches!(parse(words("--parent=x -- /bin/true")), Err(ChildError::Argument(_))));
        assert!(matches!(parse(words("--parent=7 --")), Err(ChildError::NoTool)));
    }
}
