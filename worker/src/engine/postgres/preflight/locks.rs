//! Whether one transaction can hold all the locks that it needs.

use super::{Plan, report::Findings, server::Server};

const HINT: &str = "Raise max_locks_per_transaction on the server (it needs a restart), or restore in parts.";

pub(super) fn check(plan: &Plan<'_>, server: &Server, found: &mut Findings) {
    let Some(contents) = plan.contents else { return };
    let budget = u64::try_from(server.locks).unwrap_or_default();
    // A table may have a TOAST table and that an index.
    let (least, most) = (contents.locks, contents.locks + 2 * contents.tables);
    let formula = "max_locks_per_transaction × (max_connections + max_prepared_transactions)";
    if least > budget {
        found.error(
            "lock_budget",
            format!("one transaction needs {least} locks at least, the server has {budget} ({formula})"),
            HINT,
        );
    } else if most > budget / 2 {
        found.warning(
            "lock_budget",
            format!(
                "one transaction needs up to {most} of the server's {budget} locks ({formula}), which all others share"
            ),
            HINT,
        );
    }
}
