//! Nothing of a job runs any more, and nobody's password is left in a file.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use crate::{app::App, process};

/// Children end with their job; the kernel takes a moment to take them away.
const MOMENT: Duration = Duration::from_secs(15);

pub(super) async fn check(app: &App, broken: &mut Vec<String>) {
    let began = Instant::now();
    loop {
        let mut found = children(app);
        found.extend(secret_dirs(app));
        if found.is_empty() {
            return;
        }
        if began.elapsed() > MOMENT {
            broken.extend(found);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Workers and the API are told by their configuration, which lies in the installation's directory; what else has a
/// path of it in its environment is a tool that a worker started.
fn children(app: &App) -> Vec<String> {
    let dir = app.dir.path().to_str().unwrap();
    let mut found = Vec::new();
    for (pid, _, line) in process::table() {
        if line.contains("--config") && line.contains(dir) {
            continue;
        }
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environ).contains(&format!("{dir}/run")) && process::alive(pid) {
            found.push(format!("process {pid} still runs: {line}"));
        }
    }
    found
}

fn secret_dirs(app: &App) -> Vec<String> {
    let dir = app.dir.path().to_str().unwrap();
    let workers: BTreeSet<String> = process::table()
        .into_iter()
        .filter(|(_, _, line)| line.contains(dir))
        .map(|(pid, ..)| pid.to_string())
        .collect();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(app.dir.path().join("run")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        // Of a killed worker they stay until the next one starts.
        let owner = name.split('-').nth(1).unwrap_or_default();
        if workers.contains(owner) {
            found.push(format!("secrets of no job lie in {name}"));
        }
    }
    found
}
