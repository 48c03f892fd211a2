//! Whether there is room, where the operator has said how much there is: the server itself does not tell.

use sqlx::PgConnection;

use super::{
    super::{super::EngineError, connect::query},
    Plan, Way,
    report::Findings,
};

pub(super) async fn check(
    session: &mut PgConnection,
    plan: &Plan<'_>,
    way: Way,
    found: &mut Findings,
) -> Result<(), EngineError> {
    // Of a part nobody knows how large it is.
    let Some(capacity) = plan.capacity.filter(|_| way != Way::Part && plan.restore.part.is_whole()) else {
        return Ok(());
    };
    // Those that the role may not measure are left out: what is told is the least.
    let used: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(pg_database_size(oid)), 0)::int8 FROM pg_database
         WHERE has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')",
    )
    .fetch_one(session)
    .await
    .map_err(query("measuring the databases"))?;
    let raw = plan.manifest.raw_bytes();
    let needed = i64::try_from(raw).unwrap_or(i64::MAX);
    if used.saturating_add(needed) > capacity {
        found.error(
            "capacity_exceeded",
            format!(
                "the databases of the server have {used} bytes, the save adds about {needed} (without indexes), and the server's \
                 capacity_bytes is {capacity}"
            ),
            "Free space, or raise capacity_bytes of the server if there is more.",
        );
    }
    Ok(())
}
