//! The report: what would happen, how the target stands, and what would go wrong.

use serde::Serialize;

use super::{Plan, Way};

/// Names of relations that a report lists.
const NAMED: usize = 100;

/// Whether the restore would fail, or go on with a loss or a risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// Something an operator should know before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable.
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What is found, as it is found.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn error(&mut self, code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Finding { code, severity: Severity::Error, message: message.into(), hint: hint.into() });
    }

    pub(super) fn warning(&mut self, code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Finding { code, severity: Severity::Warning, message: message.into(), hint: hint.into() });
    }

    /// Errors first, else as they were found.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.severity);
        self.0
    }
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Would {
    /// `new`, `swap`, `direct` or `part`.
    pub method: &'static str,
    /// Why so, where it was not asked for.
    pub why: Option<String>,
    pub create: Vec<String>,
    /// From, to.
    pub rename: Vec<(String, String)>,
    pub drop: Vec<String>,
    /// Of how many relations `drop` names the first.
    pub drop_count: usize,
    /// Seconds that what is replaced is kept; none: it is not.
    pub keep_old_s: Option<u32>,
}

impl Would {
    /// `replaced`: relations inside the database that are dropped and made anew.
    pub(super) fn of(plan: &Plan<'_>, way: Way, why: Option<String>, exists: bool, replaced: Vec<String>) -> Self {
        let name = plan.database().to_string();
        let staging = format!("{name}__hf_<job>_<attempt>");
        let published = (staging.clone(), name.clone());
        let mut would = Self {
            method: match way {
                Way::New => "new",
                Way::Swap => "swap",
                Way::Direct => "direct",
                Way::Part => "part",
            },
            why,
            create: vec![staging],
            rename: Vec::new(),
            drop: Vec::new(),
            drop_count: 0,
            keep_old_s: None,
        };
        match way {
            Way::Swap if exists => {
                would.rename = vec![(name.clone(), format!("{name}__hf_old_<job>")), published];
                would.keep_old_s = Some(plan.restore.keep_old_s);
            }
            Way::New | Way::Swap => would.rename = vec![published],
            Way::Direct | Way::Part => {
                would.create =
                    plan.relations().into_iter().take(NAMED).map(|(schema, name)| format!("{schema}.{name}")).collect();
                would.drop_count = replaced.len();
                would.drop = replaced.into_iter().take(NAMED).collect();
            }
        }
        would
    }
}

/// The database under the wanted name, by the server's own statistics: estimates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    pub exists: bool,
    pub bytes: Option<i64>,
    /// Rows of all tables together.
    pub rows: Option<i64>,
    pub tables: Option<i64>,
}

impl Target {
    pub(super) const fn absent() -> Self {
        Self { exists: false, bytes: None, rows: None, tables: None }
    }
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preflight {
    pub server_version: String,
    pub would: Would,
    pub target: Target,
    /// Errors first.
    pub problems: Vec<Finding>,
}

/// `a, b and 3 more`
pub(super) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
