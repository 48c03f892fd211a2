//! Who is connected to what would be replaced, and whether this role may end their sessions.

use sqlx::{PgConnection, Row as _};

use super::{
    super::{super::EngineError, connect::query},
    Plan, Way,
    report::{Findings, listed},
};

pub(super) async fn check(
    session: &mut PgConnection,
    plan: &Plan<'_>,
    way: Way,
    exists: bool,
    found: &mut Findings,
) -> Result<(), EngineError> {
    if way == Way::New || !exists {
        return Ok(());
    }
    // The rule of pg_terminate_backend.
    let rows = sqlx::query(
        "SELECT coalesce(a.usename::text, '?'), coalesce(nullif(a.application_name, ''), '?'), count(*),
           bool_and(CASE WHEN t.rolsuper THEN me.rolsuper
                    ELSE pg_has_role(t.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE') END)
         FROM pg_stat_activity a JOIN pg_roles t ON t.oid = a.usesysid CROSS JOIN pg_roles me
         WHERE a.datname = $1 AND me.rolname = current_user AND a.pid <> pg_backend_pid() GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
    )
    .bind(plan.database().as_str())
    .fetch_all(session)
    .await
    .map_err(query("looking who is connected"))?;
    let who = |may_end: bool| -> Vec<String> {
        let mine = rows.iter().filter(|row| row.get::<bool, _>(3) == may_end);
        mine.map(|row| {
            let (user, program, count): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
            format!("{count} of {user} ({program})")
        })
        .collect()
    };
    let (mine, others) = (who(true), who(false));
    match way {
        Way::Swap => {
            if !others.is_empty() {
                found.error(
                    "sessions_cannot_be_ended",
                    format!("sessions are open that the restore role may not end: {}", listed(&others)),
                    "End them, or grant the restore role pg_signal_backend (superusers' sessions only a superuser ends).",
                );
            }
            if !mine.is_empty() {
                found.warning(
                    "sessions_will_be_ended",
                    format!("the swap ends these sessions: {}", listed(&mine)),
                    "Stop the programs first if they must not notice.",
                );
            }
        }
        Way::Direct | Way::New => {
            let all: Vec<String> = others.into_iter().chain(mine).collect();
            if !all.is_empty() {
                found.warning(
                    "sessions_may_wait",
                    format!(
                        "these sessions wait while the tables are replaced, or keep them from it: {}",
                        listed(&all)
                    ),
                    "Stop the programs first; a table that is in use for longer than 60 s makes the restore fail.",
                );
            }
        }
    }
    Ok(())
}
