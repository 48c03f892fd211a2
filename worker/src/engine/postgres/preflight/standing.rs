//! What stands under the wanted name: whether it may be there, what is tied to it, what depends on what is in it.

use sqlx::{PgConnection, Row as _};

use shared::name::DatabaseName;

use super::{
    super::{
        super::{Connection, EngineError},
        Standing,
        connect::query,
    },
    Contents, Plan, Target, Way, reading,
    report::{Findings, listed},
    server::Server,
};

pub(super) async fn check(
    session: &mut PgConnection,
    at: &Connection,
    plan: &Plan<'_>,
    way: Way,
    server: &Server,
    standing: &Standing,
    found: &mut Findings,
) -> Result<(), EngineError> {
    let name = plan.database().as_str();
    match (way, &standing.existing) {
        (Way::New, Some(existing)) => found.error(
            "database_exists",
            format!("there is a database {name:?} already, of {:?}", existing.owner),
            "Choose another name, or restore in place.",
        ),
        (Way::Direct, None) => found.error(
            "database_missing",
            format!("there is no database {name:?}, and this way creates none"),
            "Create it, or give the restore credential's role CREATEDB.",
        ),
        (Way::Swap, None) => found.warning(
            "database_missing",
            format!("there is no database {name:?}: it is created, and nothing is kept"),
            "Check the target's database name.",
        ),
        _ => {}
    }
    match (way, &standing.cannot_swap) {
        (Way::Swap, Some(why)) => found.error(
            "permission_denied",
            format!("the databases cannot be swapped: {why}"),
            "Give the restore credential's role CREATEDB and membership in the database's owner.",
        ),
        (Way::Direct, Some(why)) => found.warning(
            "no_swap",
            format!("it would be restored inside the database, without an undo: {why}"),
            "Give the restore credential's role CREATEDB and membership in the database's owner.",
        ),
        (Way::New, _) if !server.is_super && !creates(session).await? => found.error(
            "permission_denied",
            format!("role {:?} may not create databases (CREATEDB)", at.user.as_str()),
            "Give the restore credential's role CREATEDB.",
        ),
        _ => {}
    }
    if standing.existing.is_some() && way != Way::New {
        ties(session, name, way, found).await?;
    }
    Ok(())
}

async fn creates(session: &mut PgConnection) -> Result<bool, EngineError> {
    sqlx::query_scalar("SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user")
        .fetch_one(session)
        .await
        .map_err(query("asking what the role may do"))
}

/// What outside the database holds on to it. A swap would tear it off; inside, prepared transactions hold locks.
async fn ties(session: &mut PgConnection, name: &str, way: Way, found: &mut Findings) -> Result<(), EngineError> {
    let rows = sqlx::query(
        "SELECT 'slot', slot_name::text FROM pg_replication_slots WHERE database = $1
         UNION ALL SELECT 'subscription', s.subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = $1
         UNION ALL SELECT 'prepared', gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY 1, 2",
    )
    .bind(name)
    .fetch_all(session)
    .await
    .map_err(query("looking for what is tied to the database"))?;
    let of = |kind: &str| -> Vec<String> {
        rows.iter().filter(|row| row.get::<&str, _>(0) == kind).map(|row| row.get(1)).collect()
    };
    let kinds = [
        ("slot", "replication_slots", "replication slots", "Drop the slots; their consumers begin anew afterwards."),
        ("subscription", "subscriptions", "subscriptions", "Drop the subscriptions, and create them again afterwards."),
        ("prepared", "prepared_transactions", "prepared transactions", "Commit them or roll them back."),
    ];
    for (kind, code, words, hint) in kinds {
        let names = of(kind);
        if names.is_empty() {
            continue;
        }
        let message = format!("database {name:?} has {words}: {}", listed(&names));
        match way {
            Way::Swap => found.error(code, message, hint),
            Way::Direct | Way::New => found.warning(code, message, hint),
        }
    }
    Ok(())
}

/// Size and rows by the server's statistics. What the role may not look at stays unknown.
pub(super) async fn measure(
    session: &mut PgConnection,
    at: &Connection,
    database: &DatabaseName,
) -> Result<Target, EngineError> {
    let may_connect: bool = sqlx::query_scalar(
        "SELECT has_database_privilege(oid, 'CONNECT') AND datallowconn FROM pg_database WHERE datname = $1",
    )
    .bind(database.as_str())
    .fetch_one(session)
    .await
    .map_err(query("asking for the right to connect"))?;
    if !may_connect {
        return Ok(Target { exists: true, bytes: None, rows: None, tables: None });
    }
    let row = sqlx::query(
        "SELECT pg_database_size(current_database()), sum(greatest(c.reltuples, 0))::int8, count(*) FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    )
    .fetch_one(&mut reading(at, database).await?)
    .await
    .map_err(query("measuring the database"))?;
    Ok(Target { exists: true, bytes: row.get(0), rows: row.get::<Option<i64>, _>(1).or(Some(0)), tables: row.get(2) })
}

/// The save's relations that are there and would be dropped; what depends on them and is not of the save keeps that from
/// happening.
pub(super) async fn replaced(
    inside: &mut PgConnection,
    contents: &Contents,
    found: &mut Findings,
) -> Result<Vec<String>, EngineError> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        contents.relations.iter().map(|(schema, name)| (schema.as_str(), name.as_str())).unzip();
    let there: Vec<String> = sqlx::query_scalar(
        "SELECT n.nspname || '.' || c.relname FROM unnest($1::text[], $2::text[]) AS s (schema, name)
         JOIN pg_namespace n ON n.nspname = s.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.name ORDER BY 1",
    )
    .bind(&schemas)
    .bind(&names)
    .fetch_all(&mut *inside)
    .await
    .map_err(query("looking for what would be replaced"))?;
    let dependants: Vec<String> = sqlx::query_scalar(
        "WITH saved AS (
           SELECT c.oid FROM unnest($1::text[], $2::text[]) AS s (schema, name)
           JOIN pg_namespace n ON n.nspname = s.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.name)
         SELECT DISTINCT what FROM (
           SELECT CASE v.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END || v.oid::regclass AS what
             FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
            WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid IN (TABLE saved)
              AND v.oid NOT IN (TABLE saved)
           UNION ALL SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass FROM pg_constraint
            WHERE contype = 'f' AND confrelid IN (TABLE saved) AND conrelid NOT IN (TABLE saved)
           UNION ALL SELECT 'child table ' || inhrelid::regclass FROM pg_inherits
            WHERE inhparent IN (TABLE saved) AND inhrelid NOT IN (TABLE saved)
              AND EXISTS (SELECT FROM pg_class WHERE oid = inhrelid AND relkind IN ('r', 'p', 'f'))) all_of_them ORDER BY 1",
    )
    .bind(&schemas)
    .bind(&names)
    .fetch_all(inside)
    .await
    .map_err(query("looking for what depends on what would be replaced"))?;
    if !dependants.is_empty() {
        found.error(
            "dependants",
            format!("what the save does not hold depends on what it would replace: {}", listed(&dependants)),
            "Drop it first and create it again afterwards, or restore by swap.",
        );
    }
    Ok(there)
}
