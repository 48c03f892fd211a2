//! What the server says about itself and one database, and what a dump by this role would lack or fail on.

use serde_json::Value;
use shared::name::DatabaseName;
use sqlx::{PgConnection, Row as _};

use super::{
    super::{
        Connection, DatabaseProperties, DatabaseSetting, EngineError, ErrorCode, Extension, ProbeReport, Unreadable,
        UnreadableKind,
    },
    connect::{connect, query},
    restore::without_mark,
};

/// How many unreadable things of each kind are listed.
const LISTED: i64 = 500;

pub(super) async fn probe(at: &Connection, database: &DatabaseName) -> Result<ProbeReport, EngineError> {
    let mut session = connect(at, database).await?;
    let server = sqlx::query(
        "SELECT current_setting('server_version') AS version,
                current_setting('server_version_num')::int AS version_num,
                (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
                coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
                pg_database_size(current_database()) AS size,
                pg_is_in_recovery() AS standby,
                (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AS tables",
    )
    .fetch_one(&mut session)
    .await
    .map_err(query("asking the server about itself"))?;
    let version_num: i32 = server.get("version_num");

    let extensions = sqlx::query("SELECT extname, extversion FROM pg_extension ORDER BY extname")
        .fetch_all(&mut session)
        .await
        .map_err(query("listing the extensions"))?;
    let extensions = extensions.iter().map(|row| Extension { name: row.get(0), version: row.get(1) }).collect();

    let properties = properties(&mut session).await?;
    let unreadable = unreadable(&mut session).await?;
    let tls_in_use: bool = server.get("tls");
    let mut warnings = Vec::new();
    if !tls_in_use && at.tls != super::super::TlsMode::Disable {
        warnings.push("the server offers no TLS: password exchange and data are readable on the network".to_owned());
    }
    if server.get::<bool, _>("superuser") {
        warnings.push("the credential is a superuser: pg_read_all_data and CONNECT are enough for a dump".to_owned());
    }
    if server.get::<bool, _>("standby") {
        warnings.push("the server is a standby: a long dump may be cancelled by replication".to_owned());
    }
    if !unreadable.is_empty() {
        let first = unreadable.first().map_or("", |item| item.name.as_str());
        warnings.push(format!("the role cannot read everything ({} found, {first:?} first)", unreadable.len()));
    }
    Ok(ProbeReport {
        server_version: server.get("version"),
        server_version_num: u32::try_from(version_num).unwrap_or_default(),
        tls_in_use,
        is_superuser: server.get("superuser"),
        size_bytes: server.get("size"),
        table_count: server.get("tables"),
        extensions,
        properties,
        unreadable,
        warnings,
    })
}

/// The row of `pg_database` as JSON: its columns differ from version to version, and a missing key is a missing feature.
async fn properties(session: &mut PgConnection) -> Result<DatabaseProperties, EngineError> {
    let row = sqlx::query(
        "SELECT to_jsonb(d) AS row, pg_get_userbyid(d.datdba)::text AS owner, pg_encoding_to_char(d.encoding)::text AS encoding,
                shobj_description(d.oid, 'pg_database') AS comment,
                (SELECT array_agg(item::text) FROM unnest(d.datacl) item) AS acl
           FROM pg_database d WHERE d.datname = current_database()",
    )
    .fetch_one(&mut *session)
    .await
    .map_err(query("reading the properties of the database"))?;
    let columns: Value = row.get("row");
    let text = |key: &str| columns.get(key).and_then(Value::as_str).map(str::to_owned);

    let settings = sqlx::query(
        "SELECT r.rolname::text AS role, s.setting
           FROM pg_db_role_setting d
           LEFT JOIN pg_roles r ON r.oid = d.setrole
           CROSS JOIN unnest(d.setconfig) WITH ORDINALITY AS s (setting, n)
          WHERE d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
          ORDER BY r.rolname NULLS FIRST, s.n",
    )
    .fetch_all(&mut *session)
    .await
    .map_err(query("reading the settings of the database"))?;
    let settings = settings.iter().filter_map(|row| {
        let (name, value) = row.get::<&str, _>("setting").split_once('=')?;
        Some(DatabaseSetting { role: row.get("role"), name: name.to_owned(), value: value.to_owned() })
    });

    let provider = match text("datlocprovider").as_deref() {
        Some("i") => "icu",
        Some("b") => "builtin",
        Some("c") | None => "libc",
        Some(other) => {
            let problem = format!("the server's locale provider {other:?} is not known to this version of Holdfast");
            return Err(EngineError::new(ErrorCode::QueryFailed, problem));
        }
    };
    Ok(DatabaseProperties {
        owner: row.get("owner"),
        encoding: row.get("encoding"),
        locale_provider: provider.to_owned(),
        collate: text("datcollate").unwrap_or_default(),
        ctype: text("datctype").unwrap_or_default(),
        // The column's name before and since version 17.
        locale: text("datlocale").or_else(|| text("daticulocale")),
        icu_rules: text("daticurules"),
        acl: row.get("acl"),
        connection_limit: columns
            .get("datconnlimit")
            .and_then(Value::as_i64)
            .and_then(|n| i32::try_from(n).ok())
            .unwrap_or(-1),
        comment: row.get::<Option<&str>, _>("comment").and_then(without_mark),
        settings: settings.collect(),
    })
}

/// `pg_dump` locks every table, for which it needs SELECT on the whole of it and USAGE of the schema; it reads every
/// sequence and large object, and refuses tables of which row security would hide rows.
async fn unreadable(session: &mut PgConnection) -> Result<Vec<Unreadable>, EngineError> {
    // CASE keeps the order of evaluation: a privilege function of the wrong kind raises an error.
    let relations = sqlx::query(
        "WITH seen AS (
           SELECT n.nspname::text AS schema, c.relname::text AS name, CASE
                    WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END
                    WHEN c.relkind = 'S' THEN CASE WHEN has_sequence_privilege(c.oid, 'SELECT') THEN '' ELSE 'sequence' END
                    WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'table'
                    WHEN row_security_active(c.oid) THEN 'row_security'
                    ELSE '' END AS kind
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
              AND NOT EXISTS (SELECT FROM pg_depend d
                               WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
         numbered AS (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY schema, name) AS n FROM seen WHERE kind <> '')
         SELECT kind, schema, name FROM numbered WHERE n <= $1 ORDER BY kind, n",
    )
    .bind(LISTED)
    .fetch_all(&mut *session)
    .await
    .map_err(query("asking what the role can read"))?;
    let large_objects = sqlx::query(
        "SELECT 'large_object' AS kind, NULL::text AS schema, m.oid::text AS name
           FROM pg_largeobject_metadata m
          WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
            AND NOT pg_has_role(m.lomowner, 'USAGE')
            AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a
                             WHERE a.privilege_type = 'SELECT'
                               AND CASE a.grantee WHEN 0 THEN true ELSE pg_has_role(a.grantee, 'USAGE') END)
          ORDER BY m.oid LIMIT $1",
    )
    .bind(LISTED)
    .fetch_all(&mut *session)
    .await
    .map_err(query("asking which large objects the role can read"))?;
    let item = |row: &sqlx::postgres::PgRow| {
        let kind = match row.get("kind") {
            "sequence" => UnreadableKind::Sequence,
            "row_security" => UnreadableKind::RowSecurity,
            "large_object" => UnreadableKind::LargeObject,
            _ => UnreadableKind::Table,
        };
        Unreadable { kind, schema: row.get("schema"), name: row.get("name") }
    };
    Ok(relations.iter().chain(&large_objects).map(item).collect())
}
