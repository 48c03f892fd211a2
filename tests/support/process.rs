//! A program of ours as a real process, with a log that tests can read.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Child;

use crate::{
    stack,
    wait::{PATIENCE, until},
};

/// Ended by SIGKILL when dropped.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    child: Child,
    log: PathBuf,
    /// Where in the file this process began: one of the same name may have written before it.
    from: usize,
}

impl Process {
    /// Starts a program with nothing in its environment but PATH and `envs`; its output goes to `<dir>/<name>.log`.
    #[expect(clippy::disallowed_methods, reason = "a test starts the programs as a person would")]
    pub fn start(program: &str, args: &[&str], dir: &Path, name: &str, envs: &[(&str, &str)]) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let from = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let child = tokio::process::Command::new(stack::program(program))
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(envs.iter().copied())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { name: name.to_owned(), child, log, from }
    }

    /// Panics once it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended", self.name))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap(), signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().await.unwrap();
    }

    /// Freezes it, as a machine does that swaps or migrates.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("{} does not end:\n{}", self.name, self.tail()))
            .unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// All it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()[self.from..]).into_owned()
    }

    /// The end of what it said.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits for a line of the log with this message, and gives it.
    pub async fn says(&mut self, message: &str) -> Value {
        let what = format!("{} says {message:?}", self.name);
        loop {
            // Before the log is read: a line that is written in between is then seen as growth.
            let before = std::fs::metadata(&self.log).unwrap().len();
            let found = self.log().lines().rev().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["message"] == message).then_some(line)
            });
            if let Some(fields) = found {
                return fields;
            }
            assert!(!self.has_ended(), "{} ended:\n{}", self.name, self.tail());
            let log = self.log.clone();
            let grew = || async { (std::fs::metadata(&log).unwrap().len() > before).then_some(()) };
            tokio::select! {
                () = until(&what, grew) => {}
                _ = self.child.wait() => {}
            }
        }
    }

    /// Command lines of all processes below this one, itself not among them.
    pub fn descendants(&self) -> Vec<(u32, String)> {
        let pid = self.pid();
        let mut found = Vec::new();
        let mut parents = vec![pid];
        let all = table();
        while let Some(parent) = parents.pop() {
            for (pid, _, line) in all.iter().filter(|(_, of, _)| *of == parent) {
                parents.push(*pid);
                found.push((*pid, line.clone()));
            }
        }
        found
    }
}

/// Every process: pid, parent, command line.
pub fn table() -> Vec<(u32, u32, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may hold anything; what follows the last one is numbers.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            Some((pid, parent, String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()))
        })
        .collect()
}

/// Whether a process with this pid is there (a zombie is not).
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
