//! What a database has, as far as a wipe is concerned: asked of its catalogs, by names and oids alone.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row as _};

use super::super::{
    super::EngineError,
    connect::{ident, query},
};

/// A table, sequence or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) oid: i64,
    pub(super) schema: String,
    pub(super) name: String,
    /// As `pg_class` writes it: `r`, `p`, `f`, `m`, `v` or `S`.
    pub(super) kind: char,
    /// By the server's statistics; none: it has none.
    pub(super) rows: Option<i64>,
    pub(super) bytes: i64,
    /// It belongs to an extension.
    pub(super) is_extensions: bool,
    /// The partitioned table that it is a partition of.
    pub(super) parent: Option<i64>,
    /// Whether this role may truncate it, or as its owner do what it likes.
    pub(super) is_ours: bool,
    pub(super) is_populated: bool,
    /// Locks that its truncation takes: of itself, its indexes, its TOAST table.
    pub(super) locks: i64,
}

impl Relation {
    /// `"schema"."name"`
    pub(super) fn qualified(&self) -> String {
        format!("{}.{}", ident(&self.schema), ident(&self.name))
    }
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignKey {
    pub(super) name: String,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Survey {
    /// By schema and name.
    pub(super) relations: Vec<Relation>,
    pub(super) foreign_keys: Vec<ForeignKey>,
    /// Of a view or materialized view the relations that its query names.
    pub(super) reads: HashMap<i64, HashSet<i64>>,
    /// Of a sequence the tables that own it or take their defaults from it.
    pub(super) users: HashMap<i64, HashSet<i64>>,
    pub(super) large_objects: i64,
    /// Those that this role may not unlink.
    pub(super) foreign_objects: i64,
    /// Locks that all transactions of the server have together for certain.
    pub(super) lock_budget: i64,
}

pub(super) async fn survey(session: &mut PgConnection) -> Result<Survey, EngineError> {
    let what = "listing what the database has";
    let relations = sqlx::query(
        "SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,
                CASE WHEN c.reltuples >= 0 THEN c.reltuples::int8 ELSE pg_stat_get_live_tuples(c.oid) END,
                c.relpages::int8 * current_setting('block_size')::int8,
                EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'),
                (SELECT i.inhparent::int8 FROM pg_inherits i WHERE i.inhrelid = c.oid AND c.relispartition),
                pg_has_role(c.relowner, 'USAGE')
                  OR CASE WHEN c.relkind IN ('r', 'p') THEN has_table_privilege(c.oid, 'TRUNCATE') ELSE false END,
                c.relispopulated,
                1 + (SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid) + CASE WHEN c.reltoastrelid <> 0 THEN 2 ELSE 0 END
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v', 'S') AND c.relpersistence <> 't'
            AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
          ORDER BY n.nspname, c.relname",
    )
    .fetch_all(&mut *session)
    .await
    .map_err(query(what))?;
    let foreign_keys = sqlx::query(
        "SELECT conname::text, conrelid::int8, confrelid::int8 FROM pg_constraint WHERE contype = 'f' ORDER BY 1, 2, 3",
    )
    .fetch_all(&mut *session)
    .await
    .map_err(query(what))?;
    let reads = sqlx::query(
        "SELECT DISTINCT w.ev_class::int8, d.refobjid::int8
           FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
          WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class",
    )
    .fetch_all(&mut *session)
    .await
    .map_err(query(what))?;
    let users = sqlx::query(
        "SELECT s.oid::int8, d.refobjid::int8 FROM pg_class s JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
          WHERE s.relkind = 'S' AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
         UNION
         SELECT s.oid::int8, a.adrelid::int8 FROM pg_class s
           JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND d.classid = 'pg_attrdef'::regclass
           JOIN pg_attrdef a ON a.oid = d.objid WHERE s.relkind = 'S'",
    )
    .fetch_all(&mut *session)
    .await
    .map_err(query(what))?;
    let server = sqlx::query(
        "SELECT (SELECT count(*) FROM pg_largeobject_metadata),
                (SELECT count(*) FROM pg_largeobject_metadata WHERE NOT pg_has_role(lomowner, 'USAGE')),
                current_setting('max_locks_per_transaction')::int8
                  * (current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8)",
    )
    .fetch_one(session)
    .await
    .map_err(query(what))?;
    let mut survey = Survey {
        relations: relations.iter().map(relation).collect(),
        foreign_keys: foreign_keys
            .iter()
            .map(|row| ForeignKey { name: row.get(0), from: row.get(1), to: row.get(2) })
            .collect(),
        large_objects: server.get(0),
        foreign_objects: server.get(1),
        lock_budget: server.get(2),
        ..Survey::default()
    };
    for row in &reads {
        survey.reads.entry(row.get(0)).or_default().insert(row.get(1));
    }
    for row in &users {
        survey.users.entry(row.get(0)).or_default().insert(row.get(1));
    }
    Ok(survey)
}

fn relation(row: &sqlx::postgres::PgRow) -> Relation {
    Relation {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        kind: row.get::<&str, _>(3).chars().next().unwrap_or(' '),
        rows: row.get(4),
        bytes: row.get(5),
        is_extensions: row.get(6),
        parent: row.get(7),
        is_ours: row.get(8),
        is_populated: row.get(9),
        locks: row.get(10),
    }
}
