//! Roles that the save names, where owners or privileges are kept.

use std::collections::BTreeSet;

use shared::save::Mode;
use sqlx::PgConnection;

use super::{
    super::{super::EngineError, connect::query},
    Plan, Way,
    report::{Findings, listed},
    server::Server,
};

pub(super) async fn check(
    session: &mut PgConnection,
    plan: &Plan<'_>,
    way: Way,
    server: &Server,
    found: &mut Findings,
) -> Result<(), EngineError> {
    let part = &plan.restore.part;
    // Rows have neither.
    if part.mode == Mode::Data {
        return Ok(());
    }
    if plan.keeps_owners() {
        owners(session, plan, way, server, found).await?;
    }
    // Of some tables it is not known here which grants are theirs.
    if plan.keeps_privileges()
        && part.tables.is_empty()
        && let Some(contents) = plan.contents
    {
        let missing = missing(session, &contents.grantees).await?;
        if !missing.is_empty() {
            found.error(
                "role_missing",
                format!("the save grants to roles that this server does not have: {}", listed(&missing)),
                "Create them, or restore with privileges none. The save's globals.sql.zst has their definitions.",
            );
        }
    }
    let of_settings = plan.properties.settings.iter().filter_map(|setting| setting.role.clone()).collect();
    let missing = missing(session, &of_settings).await?;
    if !missing.is_empty() {
        found.warning(
            "settings_of_missing_roles",
            format!("the database has settings for roles that this server does not have: {}", listed(&missing)),
            "They are left out.",
        );
    }
    Ok(())
}

async fn owners(
    session: &mut PgConnection,
    plan: &Plan<'_>,
    way: Way,
    server: &Server,
    found: &mut Findings,
) -> Result<(), EngineError> {
    let tables = &plan.restore.part.tables;
    let mut owners: BTreeSet<String> = match plan.contents {
        Some(contents) if !tables.is_empty() => contents.owners_of(&plan.relations()),
        Some(contents) => contents.owners.clone(),
        None => BTreeSet::new(),
    };
    // A database that is there keeps its own.
    if matches!(way, Way::New | Way::Swap) && !plan.properties.owner.is_empty() {
        owners.insert(plan.properties.owner.clone());
    }
    let missing = missing(session, &owners).await?;
    if !missing.is_empty() {
        found.error(
            "role_missing",
            format!("the save's owners are roles that this server does not have: {}", listed(&missing)),
            "Create them, or restore with owner none. The save's globals.sql.zst has their definitions.",
        );
    }
    let names: Vec<&str> = owners.iter().map(String::as_str).collect();
    // From 16 on a membership may come without the right to become the role.
    let sql = if server.version_num >= 160_000 {
        "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1) AND NOT pg_has_role(oid, 'SET') ORDER BY 1"
    } else {
        "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1) AND NOT pg_has_role(oid, 'MEMBER') ORDER BY 1"
    };
    let strangers: Vec<String> = sqlx::query_scalar(sql)
        .bind(&names)
        .fetch_all(session)
        .await
        .map_err(query("asking for the role's memberships"))?;
    if !strangers.is_empty() {
        found.error(
            "role_not_member",
            format!("the restore role is no member of the save's owners {}", listed(&strangers)),
            "Grant it membership, or restore with owner none.",
        );
    }
    Ok(())
}

async fn missing(session: &mut PgConnection, names: &BTreeSet<String>) -> Result<Vec<String>, EngineError> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    sqlx::query_scalar(
        "SELECT name FROM unnest($1::text[]) AS t (name) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) ORDER BY 1",
    )
    .bind(&names)
    .fetch_all(session)
    .await
    .map_err(query("asking for roles"))
}
