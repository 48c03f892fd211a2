//! Looks for the passwords of the targets while jobs run: in the arguments of every process of the machine, in the
//! environment of every child, and in whatever it is shown.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use support::{App, invariants::forms, process, stack};
use tokio::task::JoinHandle;

/// Looks until dropped.
pub(super) struct Spy {
    needles: Arc<Vec<(String, String)>>,
    found: Arc<Mutex<BTreeSet<String>>>,
    looks: Arc<Mutex<u64>>,
    task: JoinHandle<()>,
}

impl Spy {
    pub(super) fn start(app: &App) -> Self {
        let mut needles = Vec::new();
        for role in ["BACKUP", "RESTORE", "SUPER"] {
            for (form, text) in forms(&stack::setting(&format!("TARGET_{role}_PASSWORD"))) {
                needles.push((format!("the password of {role} {form}"), text));
            }
        }
        let (needles, found, looks) = (Arc::new(needles), Arc::<Mutex<BTreeSet<String>>>::default(), Arc::default());
        let task = tokio::task::spawn_blocking({
            let run = format!("{}/run", app.dir.path().display());
            let (needles, found, looks) = (Arc::clone(&needles), Arc::clone(&found), Arc::<Mutex<u64>>::clone(&looks));
            move || {
                // The spy's own handle is the last but this one: with it gone, nobody asks any more.
                while Arc::strong_count(&found) > 1 {
                    look_at_processes(&run, &needles, &found);
                    *looks.lock().unwrap() += 1;
                    std::thread::sleep(Duration::from_millis(150));
                }
            }
        });
        Self { needles, found, looks, task }
    }

    /// Looks for them in a text.
    pub(super) fn look(&self, place: &str, text: &str) {
        for (what, needle) in self.needles.iter() {
            if text.contains(needle) {
                self.found.lock().unwrap().insert(format!("{what} stands in {place}"));
            }
        }
    }

    /// What it has found so far, once.
    pub(super) fn found(&self) -> Vec<String> {
        assert!(!self.task.is_finished() && *self.looks.lock().unwrap() > 0, "the spy does not look");
        std::mem::take(&mut *self.found.lock().unwrap()).into_iter().collect()
    }
}

fn look_at_processes(run: &str, needles: &[(String, String)], found: &Mutex<BTreeSet<String>>) {
    for (pid, _, line) in process::table() {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environ = String::from_utf8_lossy(&environ);
        // Tools of a worker are told by the directory of their secrets; the tests' own tools get theirs otherwise.
        let ours = environ.contains(run);
        for (what, needle) in needles {
            if line.contains(needle) {
                found.lock().unwrap().insert(format!("{what} stands in the arguments of {pid}"));
            }
            if ours && environ.contains(needle) {
                found.lock().unwrap().insert(format!("{what} stands in the environment of {pid}"));
            }
        }
    }
}
